"""Signatures of reasoning, which only their makers can read.

A dialect has one field for them. Where another maker's signature has to go into it, the maker's
name and the item's id go with it, and come back with the client's next request.
"""

from typing import Literal

# Where a signature was made.
Maker = Literal["anthropic", "openai", ""]


def tagged_signature(signature: str, maker: Maker, item_id: str = "") -> str:
    """Return a signature with its maker, for clients whose dialect has one field for any."""
    return f"{maker}:{item_id}:{signature}" if signature else ""


def untagged_signature(text: str, own: Maker) -> tuple[str, Maker, str]:
    """Return the signature, its maker and the item's id of a text that a client sent back.

    A text without a tag of ours was made by `own`, whose dialect the client speaks.
    """
    maker, colon, rest = text.partition(":")
    if not colon or maker not in {"anthropic", "openai"}:
        return text, own if text else "", ""
    item_id, _, signature = rest.partition(":")
    return signature, "anthropic" if maker == "anthropic" else "openai", item_id
