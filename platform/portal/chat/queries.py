"""A member's stored conversations, and the short-lived API key their browser calls the API with.

A conversation is found only by the member who had it, in the team that paid for it.

The relay accepts API keys and nothing else, so a chat turn is paid for like any other request: the
site creates a short-lived inference key for a browser session and returns its plaintext once. The
page keeps it in memory, calls `/v1` itself and asks for another key when it expires. Only the
digest is stored, as for every key. A session has one live key: a new key revokes the previous one,
and so does signing out on any device, changing the password, or leaving the team.
"""

import secrets
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import msgspec
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import api_keys
from accounts.access import Actor
from accounts.models import ApiKey, User
from api.service import current_service
from billing.models import UsageRecord
from portal.access import only_chat_keys
from portal.chat.forms import MOST_MESSAGES, Changes, NewConversation, NewTurns, Turn
from portal.models import ChatKey, ChatPreference, Conversation, Message

MOST_CONVERSATIONS = 1_000  # of a member in a team
MOST_LISTED = 200


class FullError(Exception):
    """No room for more; the text says what to do."""


def stores_conversations(user: User) -> bool:
    """Return whether the user chose to have conversations stored."""
    return ChatPreference.objects.filter(user=user, stores_conversations=True).exists()


def choose_storage(user: User, *, stores: bool) -> None:
    """Keep the user's choice. What is stored already stays until they delete it."""
    ChatPreference.objects.update_or_create(user=user, defaults={"stores_conversations": stores})


def of_member(actor: Actor) -> "QuerySet[Conversation]":
    """Return the conversations that the actor had in the team."""
    return Conversation.objects.filter(user=actor.user, team=actor.team)


def listed(actor: Actor, text: str = "") -> list[Conversation]:
    """Return the actor's newest conversations, of those that hold the text in title or message."""
    found = of_member(actor)
    text = text.replace("\0", "").strip()
    if text:
        matching = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=text)
        found = found.filter(Q(title__icontains=text) | Exists(matching))
    return list(found.order_by("-updated_at")[:MOST_LISTED])


def create(actor: Actor, new: NewConversation) -> Conversation:
    """Store a conversation with its messages. Raise FullError."""
    if of_member(actor).count() >= MOST_CONVERSATIONS:
        raise FullError(
            _("{number} conversations are stored, which is the limit. Delete some first.").format(
                number=MOST_CONVERSATIONS
            )
        )
    with transaction.atomic():
        conversation = Conversation.objects.create(
            user=member_of(actor),
            team=actor.team,
            title=_clean(new.title),
            model=_clean(new.model),
            settings=_settings(new.settings),
        )
        _insert(conversation, 0, new.messages)
    return conversation


def change(conversation: Conversation, changes: Changes) -> None:
    """Change what is named of a conversation."""
    if changes.title is not None:
        conversation.title = _clean(changes.title)
    if changes.model is not None:
        conversation.model = _clean(changes.model)
    if changes.settings is not None:
        conversation.settings = _settings(changes.settings)
    conversation.save(update_fields=["title", "model", "settings"])


def extend(conversation: Conversation, turns: NewTurns) -> int:
    """Put messages after the first `keep` ones and return how many there are then.

    Raise FullError.
    """
    with transaction.atomic():
        # The lock lets two tabs of one conversation follow each other.
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        conversation.messages.filter(position__gte=turns.keep).delete()
        start = conversation.messages.count()
        if start + len(turns.messages) > MOST_MESSAGES:
            raise FullError(
                _("A conversation has at most {number} messages. Start a new one.").format(
                    number=MOST_MESSAGES
                )
            )
        _insert(conversation, start, turns.messages)
        Conversation.objects.filter(pk=conversation.pk).update(updated_at=timezone.now())
    return start + len(turns.messages)


def costs_of(actor: Actor, request_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return what the team's requests were charged in nano-dollars, of those that are settled."""
    records = UsageRecord.objects.filter(request_id__in=list(request_ids), account__team=actor.team)
    return dict(records.values_list("request_id", "charged_nanos"))


def _insert(conversation: Conversation, start: int, turns: list[Turn]) -> None:
    Message.objects.bulk_create(
        Message(
            conversation=conversation,
            position=position,
            role=turn.role,
            content=_clean(turn.content),
            reasoning=_clean(turn.reasoning),
            model=_clean(turn.model),
            request_id=turn.request_id,
            finish_reason=_clean(turn.finish_reason),
        )
        for position, turn in enumerate(turns, start)
    )


def _settings(settings: msgspec.Struct) -> dict[str, object]:
    built: dict[str, object] = msgspec.to_builtins(settings)
    return {
        name: _clean(value) if isinstance(value, str) else value for name, value in built.items()
    }


def _clean(text: str) -> str:
    """Return the text without NUL, which PostgreSQL takes in no text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


CHAT_KEY_NAME = "Chat session"
CHAT_KEY_SECONDS = 15 * 60
MOST_KEYS_AN_HOUR = 60
_SESSION_KEY = "chat_browser"


class TooManyKeysError(Exception):
    """The member has asked for MOST_KEYS_AN_HOUR keys within an hour."""


def member_of(actor: Actor) -> User:
    """Return the member behind the actor. Raise ValueError for a management key."""
    if actor.user is None:
        raise ValueError("A chat is a member's.")
    return actor.user


def renew_chat_key(actor: Actor, session: SessionBase) -> str:
    """Make the session's key and return its plaintext, which is nowhere else from then on.

    The session's former key ends at once. The new one lives CHAT_KEY_SECONDS, has the limits of
    the team's plan, and belongs to the actor's team. Raise TooManyKeysError.
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
    """Revoke the key of a session that ends."""
    if browser := session.get(_SESSION_KEY):
        _revoke(browser)


def revoke_of_member(user_id: int, team_id: int) -> None:
    """Revoke a departing member's chat keys in all of their sessions."""
    keys = ApiKey.objects.filter(created_by=user_id, team=team_id)
    api_keys.active(only_chat_keys(keys)).update(revoked_at=Now())


def revoke_of_user(user_id: int) -> None:
    """Revoke a user's chat keys in all of their teams and sessions."""
    keys = ApiKey.objects.filter(created_by=user_id)
    api_keys.active(only_chat_keys(keys)).update(revoked_at=Now())


def _revoke(browser: str) -> None:
    keys = ApiKey.objects.filter(chat_key__browser=browser)
    api_keys.active(keys).update(revoked_at=Now())
