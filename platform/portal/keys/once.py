"""A form that makes one thing, though a browser may send it twice (a reload, two clicks).

The form carries a token, and the session remembers what was made of it: the id, nothing more.
"""

import secrets
from collections.abc import Callable

from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest

from accounts.models import ApiKey

_SESSION_KEY = "keys_made"
_KEPT = 20
_LONGEST_TOKEN = 64


class MadeBeforeError(Exception):
    """The form has made its key before. `key_id` is which."""

    def __init__(self, key_id: int) -> None:
        super().__init__(f"Key {key_id} was made of this form before.")
        self.key_id = key_id


def new_token() -> str:
    """Returns a token for a form that is shown."""
    return secrets.token_urlsafe(16)


def make_once(
    request: HttpRequest, token: str, make: Callable[[], tuple[ApiKey, str]]
) -> tuple[ApiKey, str]:
    """Returns the key and plaintext that `make` makes, in one transaction with the token's use.

    Raises MadeBeforeError where the token was used, and SessionInterrupted where the session has
    ended meanwhile.
    """
    with transaction.atomic():
        # The lock makes a second request of the same form wait, and see what the first has done.
        row = Session.objects.select_for_update().filter(pk=request.session.session_key).first()
        if row is None:
            raise SessionInterrupted("The session has ended. Sign in again.")
        made: dict[str, int] = row.get_decoded().get(_SESSION_KEY, {})
        if token in made:
            raise MadeBeforeError(made[token])
        key, plaintext = make()
        kept = [*made.items(), (token[:_LONGEST_TOKEN], key.pk)][-_KEPT:]
        request.session[_SESSION_KEY] = dict(kept)
        request.session.save()
        request.session.modified = False  # it is saved; a second time would be after the lock
    return key, plaintext
