"""The keys that pages call the API with, so that a chat turn is paid as any other request.

The relay takes API keys and nothing else, and there is no second way to the money. So the site
makes a short-lived inference key for a browser session and answers its plaintext once; the page
keeps it in its memory, calls `/v1` itself and asks for another when it has ended. At rest there is
only the digest, as of every key. A session has one live key: a new one revokes the one before, and
signing out or leaving the team revokes it.
"""

import secrets
from datetime import timedelta

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts import api_keys
from accounts.access import Actor
from accounts.models import ApiKey, User
from api.service import current_service
from portal.models import ChatKey

CHAT_KEY_NAME = "Chat session"
CHAT_KEY_SECONDS = 15 * 60
MOST_KEYS_AN_HOUR = 60
_SESSION_KEY = "chat_browser"


class TooManyKeysError(Exception):
    """The member has asked for MOST_KEYS_AN_HOUR keys within an hour."""


def may_chat(actor: Actor) -> bool:
    """Tells whether the actor may call models from a page: whoever may make an inference key."""
    return actor.may_create_keys(ApiKey.Scope.INFERENCE)


def member_of(actor: Actor) -> User:
    """Returns the member behind the actor. Raises ValueError for a management key."""
    if actor.user is None:
        raise ValueError("A chat is a member's.")
    return actor.user


def renew_chat_key(actor: Actor, session: SessionBase) -> str:
    """Makes the session's key and returns its plaintext, which is nowhere else from then on.

    The session's former key ends at once. The new one lives CHAT_KEY_SECONDS, has the limits of
    the team's plan, and belongs to the actor's team. Raises TooManyKeysError.
    """
    browser = session.setdefault(_SESSION_KEY, secrets.token_hex(16))
    user = member_of(actor)
    with transaction.atomic():
        # Two tabs that ask at once take turns, so that one key is left and not two.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        recent = only_chat_keys(ApiKey.objects.filter(created_by=user, team=actor.team))
        if recent.filter(created_at__gt=Now() - timedelta(hours=1)).count() >= MOST_KEYS_AN_HOUR:
            raise TooManyKeysError
        _revoke(browser)
        key, plaintext = api_keys.create_key(
            actor.team, user, CHAT_KEY_NAME, prefix=current_service().key_prefix
        )
        # By the database's clock, which the gate compares it with.
        ApiKey.objects.filter(pk=key.pk).update(
            expires_at=Now() + timedelta(seconds=CHAT_KEY_SECONDS)
        )
        ChatKey.objects.create(key=key, browser=browser)
    return plaintext


def revoke_of_session(session: SessionBase) -> None:
    """Revokes the key of a session that ends."""
    if browser := session.get(_SESSION_KEY):
        _revoke(browser)


def revoke_of_member(user_id: int, team_id: int) -> None:
    """Revokes the keys of a member who leaves a team, in all of their sessions."""
    keys = ApiKey.objects.filter(created_by=user_id, team=team_id)
    api_keys.active(only_chat_keys(keys)).update(revoked_at=Now())


def without_chat_keys(keys: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
    """Returns those of the keys that people and programs made."""
    return keys.filter(chat_key__isnull=True)


def only_chat_keys(keys: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
    """Returns those of the keys that the site made for chats."""
    return keys.filter(chat_key__isnull=False)


def _revoke(browser: str) -> None:
    keys = ApiKey.objects.filter(chat_key__browser=browser)
    api_keys.active(keys).update(revoked_at=Now())
