"""The conversation of a Responses request: its items, checked as OpenAI checks them."""

import base64
import hashlib
from typing import Any

from simulator.errors import SimulatedError
from simulator.prompt import ASSISTANT, TOOL, Passage

Item = dict[str, Any]

_ROLES = {"user", "assistant", "system", "developer"}
_PARTS = {
    True: {"output_text", "refusal"},  # the assistant's
    False: {"input_text", "input_image", "input_file", "input_audio"},
}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
_OUTPUTS = {"function_call_output", "custom_tool_call_output"}
_ENCRYPTED_START = "sim/"


def encrypted(reasoning: str) -> str:
    """Return what stands for encrypted reasoning, the same for the same text."""
    digest = hashlib.sha256(reasoning.encode("utf-8", "surrogatepass")).digest()
    return _ENCRYPTED_START + base64.b64encode(digest).decode()


def checked_passages(asked: str | list[Item]) -> list[Passage]:
    """Return the texts of the input. Raise SimulatedError as OpenAI would refuse it."""
    if isinstance(asked, str):
        return [Passage("user", asked)]
    passages: list[Passage] = []
    open_calls: set[str] = set()
    for place, item in enumerate(asked):
        where = f"input[{place}]"
        kind = item.get("type", "message")
        if kind == "message":
            passages.append(_message(item, where))
        elif kind in _CALLS:
            _check_texts(item, ("call_id", "name", _CALLS[kind]), where)
            open_calls.add(item["call_id"])
        elif kind in _OUTPUTS:
            passages.append(_output(item, open_calls, where))
        elif kind == "reasoning":
            _check_reasoning(item, where)
    if open_calls:
        first = min(open_calls)
        raise SimulatedError(f"No tool output found for function call {first}.", param="input")
    return passages


def _message(item: Item, where: str) -> Passage:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise SimulatedError(f"Invalid value: {role!r}.", param=f"{where}.role")
    if isinstance(content, str):
        return Passage(str(role), content)
    if not isinstance(content, list):
        raise SimulatedError(
            f"Missing required parameter: '{where}.content'.", param=f"{where}.content"
        )
    allowed = _PARTS[role == ASSISTANT]
    for index, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in allowed:
            raise SimulatedError(
                f"Invalid value: {kind!r}. Supported values are: {', '.join(sorted(allowed))}.",
                param=f"{where}.content[{index}]",
            )
    return Passage(str(role), content)


def _output(item: Item, open_calls: set[str], where: str) -> Passage:
    _check_texts(item, ("call_id",), where)
    output, call_id = item.get("output"), item["call_id"]
    if not isinstance(output, str | list):
        raise SimulatedError(
            f"Missing required parameter: '{where}.output'.", param=f"{where}.output"
        )
    if call_id not in open_calls:
        raise SimulatedError(
            f"No tool call found for function call output with call_id {call_id}.", param="input"
        )
    open_calls.discard(call_id)
    return Passage(TOOL, output)


def _check_reasoning(item: Item, where: str) -> None:
    if not isinstance(item.get("summary"), list):
        raise SimulatedError(
            f"Missing required parameter: '{where}.summary'.", param=f"{where}.summary"
        )
    content = item.get("encrypted_content")
    if content is not None and not str(content).startswith(_ENCRYPTED_START):
        raise SimulatedError(
            f"The encrypted content of item {item.get('id')} could not be verified.",
            param="input",
            code="invalid_encrypted_content",
        )


def _check_texts(item: Item, names: tuple[str, ...], where: str) -> None:
    for name in names:
        if not isinstance(item.get(name), str):
            raise SimulatedError(
                f"Missing required parameter: '{where}.{name}'.", param=f"{where}.{name}"
            )
