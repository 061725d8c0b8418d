"""A user's stored conversations, for the export of their data."""

from collections.abc import Iterator
from typing import Any

from accounts.models import User
from portal.models import Conversation


def stored_conversations(user: User) -> Iterator[dict[str, Any]]:
    """Yields all that is stored of the user's conversations, in whatever team, oldest first.

    Each is made of what JSON has; times are ISO 8601. Memory stays bounded.
    """
    found = Conversation.objects.filter(user=user).select_related("team").order_by("created_at")
    for conversation in found.prefetch_related("messages").iterator(chunk_size=20):
        yield {
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
