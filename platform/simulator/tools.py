"""The tools a request declares, and which of them an answer calls; the same for every dialect."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator.answer import ToolCall
from simulator.errors import SimulatedError
from simulator.schema_sample import sample
from simulator.script import Script
from simulator.turns import Turn, TurnCall


class Tool(NamedTuple):
    """A declared tool. `free_text` tools take a text where others take a JSON object."""

    name: str
    schema: Any = None
    free_text: bool = False
    namespace: str = ""  # tools of two namespaces may share a name


SAMPLE_TOOL = Tool("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}})


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What a request says of tools."""

    tools: Sequence[Tool] = ()
    named: str = ""  # the one that `tool_choice` names
    barred: bool = False  # `tool_choice` is "none"
    answered: bool = False  # the last message brings a tool's result
    parallel: bool = True  # whether several at once are allowed


def calls_of(use: ToolUse, script: Script, turn: Turn | None) -> list[ToolCall]:
    """Return the calls of the answer: those of the turn, else by the script and the request.

    Raise SimulatedError where the request names a tool it does not declare.
    """
    chosen = [tool for tool in use.tools if not use.named or tool.name == use.named]
    if use.named and not chosen:
        raise SimulatedError(f"tool_choice: no tool is named {use.named!r}", param="tool_choice")
    if turn is not None:
        return [_turn_call(call, use.tools) for call in turn.calls]
    if script.tool is not None:
        chosen = (chosen or [SAMPLE_TOOL]) if script.tool else []
    elif use.barred or use.answered:
        chosen = []
    count = (script.calls if use.parallel else 1) if chosen else 0
    return [_sample_call(chosen[place % len(chosen)]) for place in range(count)]


def _turn_call(call: TurnCall, tools: Sequence[Tool]) -> ToolCall:
    """Return the call; a tool that was not declared is called all the same."""
    for tool in tools:
        if tool.name == call.name and call.namespace in {"", tool.namespace}:
            return _call(tool, call.input)
    return _call(Tool(call.name), call.input)


def _sample_call(tool: Tool) -> ToolCall:
    return _call(tool, "sample" if tool.free_text else sample(tool.schema or {"type": "object"}))


def _call(tool: Tool, value: Any) -> ToolCall:
    return ToolCall(tool.name, _input_text(value), tool.free_text, tool.namespace)


def _input_text(value: Any) -> str:
    """Return a call's input as it is sent; a text goes as it is, even if it is no JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
