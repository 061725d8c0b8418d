"""The conversation of a Messages request: its blocks, checked as Anthropic checks them."""

import base64
import hashlib
from typing import Any

from simulator.errors import SimulatedError
from simulator.prompt import ASSISTANT, TOOL, Passage

Block = dict[str, Any]

_ROLES = {"user", "assistant", "system"}
_SIGNATURE_START = "sim/"
_ASSISTANT_ONLY = {"tool_use", "thinking", "redacted_thinking"}
# What a user's or an assistant's block of each kind must have, beside its type.
_REQUIRED: dict[str, dict[str, type]] = {
    "text": {"text": str},
    "image": {"source": dict},
    "document": {"source": dict},
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
}


def signature(thinking: str) -> str:
    """Return the signature of a thinking block, the same for the same text."""
    digest = hashlib.sha256(thinking.encode("utf-8", "surrogatepass")).digest()
    return _SIGNATURE_START + base64.b64encode(digest).decode()


def checked_passages(messages: list[dict[str, Any]]) -> list[Passage]:
    """Return the texts of the messages. Raise SimulatedError as Anthropic would refuse them."""
    if not messages:
        raise SimulatedError("messages: at least one message is required")
    passages: list[Passage] = []
    open_calls: set[str] = set()
    for place, message in enumerate(messages):
        where = f"messages.{place}"
        role = message.get("role")
        if role not in _ROLES:
            raise SimulatedError(f"{where}.role: Input should be 'user' or 'assistant'")
        blocks = _blocks(message.get("content"), where)
        for index, block in enumerate(blocks):
            _check_block(block, str(role), f"{where}.content.{index}")
        if role != "system":
            _check_pairing(blocks, open_calls, where)
            open_calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
        passages += _block_passages(str(role), blocks)
    if open_calls:
        raise _unanswered(open_calls, f"messages.{len(messages)}")
    return passages


def _blocks(content: Any, where: str) -> list[Block]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise SimulatedError(f"{where}.content: Input should be a valid list")
    return content


def _check_block(block: Block, role: str, where: str) -> None:
    kind = block.get("type")
    if not isinstance(kind, str):
        raise SimulatedError(f"{where}.type: Field required")
    for name, expected in _REQUIRED.get(kind, {}).items():
        if not isinstance(block.get(name), expected):
            raise SimulatedError(f"{where}.{kind}.{name}: Field required")
    if kind == "text" and not block["text"]:
        raise SimulatedError(f"{where}: text content blocks must be non-empty")
    if (role != ASSISTANT and kind in _ASSISTANT_ONLY) or (
        role == ASSISTANT and kind == "tool_result"
    ):
        raise SimulatedError(f"{where}: {kind} blocks are not for the role {role}")
    if kind == "thinking" and not _is_signed(block):
        raise SimulatedError(f"{where}: Invalid `signature` in `thinking` block")


def _is_signed(block: Block) -> bool:
    thinking, signed = block["thinking"], block["signature"]
    # Thinking that was not shown comes back empty, with the signature of what it was.
    hidden = not thinking and signed.startswith(_SIGNATURE_START)
    return hidden or signed == signature(thinking)


def _check_pairing(blocks: list[Block], open_calls: set[str], where: str) -> None:
    results = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
    if stray := results - open_calls:
        raise SimulatedError(
            f"{where}: unexpected `tool_use_id` found in `tool_result` blocks:"
            f" {', '.join(sorted(stray))}. Each `tool_result` block must have a corresponding"
            " `tool_use` block in the previous message."
        )
    if missing := open_calls - results:
        raise _unanswered(missing, where)


def _unanswered(ids: set[str], where: str) -> SimulatedError:
    return SimulatedError(
        f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after:"
        f" {', '.join(sorted(ids))}"
    )


def _block_passages(role: str, blocks: list[Block]) -> list[Passage]:
    """Return a message's texts; each tool result is a passage of its own."""
    results = [
        Passage(TOOL, block.get("content")) for block in blocks if block["type"] == "tool_result"
    ]
    texts = [block for block in blocks if block["type"] == "text"]
    return [*results, Passage(role, texts)] if texts else results
