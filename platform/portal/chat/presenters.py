"""Conversations and models as the chat page's script reads them."""

from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.access import Actor
from api.catalogue.snapshot import Snapshot
from portal.chat.queries import costs_of, listed, member_of, stores_conversations
from portal.models import Conversation
from portal.ui.money import dollars
from portal.ui.prices import price_list
from portal.ui.script_texts import relay_texts
from portal.ui.shell import REQUEST_URL


def page_data(actor: Actor, snapshot: Snapshot, opened: UUID | None) -> dict[str, Any]:
    """Return what the page starts with; `opened` is the conversation to show first."""
    user = member_of(actor)
    stores = stores_conversations(user)
    kept = [conversation_line(each) for each in listed(actor)]
    return {
        "owner": f"{user.pk}-{actor.team.pk}",
        "models": chat_models(snapshot),
        "stores": stores,
        "conversations": kept,
        "opened": str(opened) if opened else None,
        "may_pay": actor.may_see_billing,
        "request_url": REQUEST_URL,
    }


def page_texts() -> dict[str, str]:
    """Return the texts of the page's script, by its names for them."""
    return relay_texts() | {
        "new_conversation": _("New conversation"),
        "price": _("{input} in · {output} out, per million tokens · context {context}"),
        "answering": _("{model} is answering."),
        "unreadable": _("The answer could not be read. Try again."),
        "stopped_early": _("Stopped before an answer came."),
        "not_stored": _("Not stored: {reason}"),
        "nothing_found": _("Nothing found."),
        "no_conversations": _("No conversations yet."),
        "stored": _("Stored on your account"),
        "in_tab": _("In this tab only"),
        "rename": _("Rename {title}"),
        "delete": _("Delete {title}"),
        "deleted": _("Deleted."),
        "all_deleted": _("All conversations deleted."),
        "ended_stopped": pgettext("answer", "Stopped"),
        "ended_length": _("Token limit reached"),
        "ended_error": pgettext("answer", "Interrupted"),
        "charge": pgettext("noun", "Charge"),
        "reasoning": _("Reasoning"),
        "reasoning_on": _("Reasoning…"),
        "lost_midway": _("The connection was lost. You’re charged for what arrived. Try again."),
        "interrupted": _("The answer was interrupted. Try again."),
        "image": _("Image: {text}"),
    }


def chat_models(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the chat models that are sold now, with their prices as texts."""
    lines = [line for line in price_list(snapshot) if line.kind == "chat"]
    return [
        {
            "name": line.name,
            "title": line.label,
            "context": line.context,
            "input_price": line.input_price,
            "output_price": line.output_price,
            "max_output_tokens": line.entry.max_output_tokens,
            "reasons": "reasoning" in line.entry.features,
        }
        for line in lines
    ]


def conversation_line(conversation: Conversation) -> dict[str, Any]:
    """Return a conversation without its messages."""
    return {
        "id": str(conversation.id),
        "title": conversation.title,
        "model": conversation.model,
        "settings": conversation.settings,
        "updated_at": conversation.updated_at.isoformat(),
    }


def conversation_whole(actor: Actor, conversation: Conversation) -> dict[str, Any]:
    """Return a conversation with its messages, and what each answer cost, from the books."""
    messages = list(conversation.messages.order_by("position"))
    ids = [message.request_id for message in messages if message.request_id is not None]
    costs = costs_of(actor, ids)
    shown = [
        {
            "role": message.role,
            "content": message.content,
            "reasoning": message.reasoning,
            "model": message.model,
            "request_id": str(message.request_id) if message.request_id else None,
            "finish_reason": message.finish_reason,
            "cost": dollars(costs.get(message.request_id)) if message.request_id else "",
        }
        for message in messages
    ]
    return {**conversation_line(conversation), "messages": shown}
