"""Create one key per form: a form carries a token, which counts once however often it is sent."""

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
    """The form was already submitted. `key_id` is the key that it created."""

    def __init__(self, key_id: int) -> None:
        super().__init__(f"The form has already created key {key_id}.")
        self.key_id = key_id


def new_token() -> str:
    """Return a token for a form that is shown."""
    return secrets.token_urlsafe(16)


def make_once(
    request: HttpRequest, token: str, make: Callable[[], tuple[ApiKey, str]]
) -> tuple[ApiKey, str]:
    """Return the key and plaintext that `make` makes, in one transaction with the token's use.

    Raise MadeBeforeError where the token was used, and SessionInterrupted where the session has
    ended meanwhile.
    """
    token = token[:_LONGEST_TOKEN]
    with transaction.atomic():
        # The lock makes a second request of the same form wait, and see what the first has done.
        row = Session.objects.select_for_update().filter(pk=request.session.session_key).first()
        if row is None:
            raise SessionInterrupted("Your session expired. Sign in again.")
        made: dict[str, int] = row.get_decoded().get(_SESSION_KEY, {})
        if token in made:
            raise MadeBeforeError(made[token])
        key, plaintext = make()
        kept = [*made.items(), (token, key.pk)][-_KEPT:]
        request.session[_SESSION_KEY] = dict(kept)
        request.session.save()
        request.session.modified = False  # it is saved; a second time would be after the lock
    return key, plaintext
