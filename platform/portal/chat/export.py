"""A user's stored conversations, for the export of their data."""

from collections.abc import Iterator
from typing import Any

from accounts.models import User
from portal.models import Conversation

CONVERSATIONS = 20


def stored_conversations(user: User) -> Iterator[dict[str, Any]]:
    """Yields all that is stored of the user's conversations, in whatever team, oldest first.

    Each is made of what JSON has; times are ISO 8601. Memory stays bounded, and no cursor is kept
    from one to the next, as the reader may give back the connection in between.
    """
    stored = Conversation.objects.filter(user=user).order_by("created_at", "id")
    place: Conversation | None = None
    while True:
        rest = stored
        if place is not None:
            rest = stored.filter(created_at__gte=place.created_at).exclude(
                created_at=place.created_at, id__lte=place.id
            )
        found = list(rest.select_related("team").prefetch_related("messages")[:CONVERSATIONS])
        if not found:
            return
        for conversation in found:
            yield _exported(conversation)
        place = found[-1]


def _exported(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": str(conversation.id),
        "team": conversation.team.slug,
        "title": conversation.title,
        "model": conversation.model,
        "settings": conversation.settings,
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
        "messages": [
            {
                "role": message.role,
                "content": message.content,
                "reasoning": message.reasoning,
                "model": message.model,
                "request_id": str(message.request_id) if message.request_id else None,
                "finish_reason": message.finish_reason,
                "created_at": message.created_at.isoformat(),
            }
            for message in sorted(conversation.messages.all(), key=lambda each: each.position)
        ],
    }
