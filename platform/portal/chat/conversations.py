"""Stored conversations: found only by the member who had them, in the team that paid for them."""

from collections.abc import Iterable
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.access import Actor
from accounts.models import User
from billing.models import UsageRecord
from portal.chat.keys import member_of
from portal.chat.payloads import MOST_MESSAGES, Changes, NewConversation, NewTurns, Turn
from portal.models import ChatPreference, Conversation, Message

MOST_CONVERSATIONS = 1_000  # of a member in a team
MOST_LISTED = 200


class FullError(Exception):
    """No room for more; the text says what to do."""


def stores_conversations(user: User) -> bool:
    """Tells whether the user chose to have conversations stored."""
    return ChatPreference.objects.filter(user=user, stores_conversations=True).exists()


def choose_storage(user: User, *, stores: bool) -> None:
    """Keeps the user's choice. What is stored already stays until they delete it."""
    ChatPreference.objects.update_or_create(user=user, defaults={"stores_conversations": stores})


def of_member(actor: Actor) -> "QuerySet[Conversation]":
    """Returns the conversations that the actor had in the team."""
    return Conversation.objects.filter(user=actor.user, team=actor.team)


def listed(actor: Actor, text: str = "") -> list[Conversation]:
    """Returns the actor's newest conversations, of those that hold the text in title or message."""
    found = of_member(actor)
    text = text.replace("\0", "").strip()
    if text:
        said = Message.objects.filter(conversation=OuterRef("pk"), content__icontains=text)
        found = found.filter(Q(title__icontains=text) | Exists(said))
    return list(found.order_by("-updated_at")[:MOST_LISTED])


def create(actor: Actor, new: NewConversation) -> Conversation:
    """Stores a conversation with its messages. Raises FullError."""
    if of_member(actor).count() >= MOST_CONVERSATIONS:
        raise FullError(f"{MOST_CONVERSATIONS} conversations are stored. Delete some first.")
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
    """Changes what is named of a conversation."""
    if changes.title is not None:
        conversation.title = _clean(changes.title)
    if changes.model is not None:
        conversation.model = _clean(changes.model)
    if changes.settings is not None:
        conversation.settings = _settings(changes.settings)
    conversation.save(update_fields=["title", "model", "settings"])


def extend(conversation: Conversation, turns: NewTurns) -> int:
    """Puts messages after the first `keep` ones and returns how many there are then.

    Raises FullError.
    """
    with transaction.atomic():
        # The lock lets two tabs of one conversation follow each other.
        Conversation.objects.select_for_update().get(pk=conversation.pk)
        conversation.messages.filter(position__gte=turns.keep).delete()
        start = conversation.messages.count()
        if start + len(turns.messages) > MOST_MESSAGES:
            raise FullError(f"A conversation has at most {MOST_MESSAGES} messages. Begin another.")
        _insert(conversation, start, turns.messages)
        Conversation.objects.filter(pk=conversation.pk).update(updated_at=timezone.now())
    return start + len(turns.messages)


def costs_of(actor: Actor, request_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Returns what the team's requests were charged in nano-dollars, of those that are settled."""
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
    """Returns the text without NUL, which PostgreSQL takes in no text."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
