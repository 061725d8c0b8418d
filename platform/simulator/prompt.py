"""What a conversation says to the simulator, whatever dialect it is written in.

A dialect hands over its texts as passages. They are counted here, and here the script is looked
for that a prompt may hold, between `<simulate>` and `</simulate>`: a query string, or a JSON
object of its keys in which `turns` may be a plan (see `turns.py`). The newest one in a user's,
developer's or system's text holds, over the other places a script may stand in; of its plan only
the tool results after it count.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator import text
from simulator.answer import ToolCall
from simulator.errors import SimulatedError
from simulator.script import Script
from simulator.scripted_request import ScriptedRequest
from simulator.tools import ToolUse, calls_of
from simulator.turns import Turn, due_turn, plan_named, read_turns

OPENING, CLOSING = "<simulate>", "</simulate>"
# Nobody's instructions: the model's own words, and what its tools said.
ASSISTANT, TOOL = "assistant", "tool"


class Passage(NamedTuple):
    """A message, or one tool's result: whose it is, and its content."""

    role: str
    content: Any

    @property
    def size(self) -> int:
        """Return the bytes of its texts."""
        return text.text_bytes(self.content)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as it was understood."""

    tokens: int
    size: int  # bytes
    tool_results: int
    calls: list[ToolCall]  # that the answer makes
    turn: Turn | None


class _Directive(NamedTuple):
    """The script in a prompt."""

    script: Any = None  # a query string or an object
    turns: list[Turn] | None = None
    place: int = 0  # of the passage it stands in


def read_prompt(
    scripted: ScriptedRequest[Any], passages: Sequence[Passage], use: ToolUse
) -> Prompt:
    """Return what a conversation asks for, and lay its script over the call's own.

    Raise SimulatedError where the script in it is malformed.
    """
    directive = _directive_in(passages)
    if directive.script is not None:
        scripted.lay_over(directive.script)
    turn = _turn_due(passages, directive, scripted.script, use)
    size = sum(passage.size for passage in passages)
    return Prompt(
        tokens=text.token_count(size),
        size=size,
        tool_results=sum(passage.role == TOOL for passage in passages),
        calls=calls_of(use, scripted.script, turn),
        turn=turn,
    )


def _directive_in(passages: Sequence[Passage]) -> _Directive:
    for place in range(len(passages) - 1, -1, -1):
        if passages[place].role in {ASSISTANT, TOOL}:
            continue
        for said in reversed(list(text.texts(passages[place].content))):
            _, found, rest = said.rpartition(OPENING)
            inner, closed, _ = rest.partition(CLOSING)
            if found and closed:
                return _read(inner.strip(), place)
    return _Directive()


def _turn_due(
    passages: Sequence[Passage], directive: _Directive, script: Script, use: ToolUse
) -> Turn | None:
    """Return the turn of a plan that is to be answered now, if there is a plan.

    Agents make calls beside the conversation (titles, summaries) with the same prompt but
    without tools: a turn with calls is not for those.
    """
    since = directive.place
    turns = directive.turns
    if turns is None:
        if not script.turns:
            return None
        turns, since = plan_named(script.turns), 0
    turn = due_turn(turns, sum(passage.role == TOOL for passage in passages[since:]))
    return turn if use.tools or not turn.calls else None


def _read(inner: str, place: int) -> _Directive:
    if not inner.startswith("{"):
        return _Directive(inner, None, place)
    try:
        fields = json.loads(inner)
    except ValueError as error:
        raise SimulatedError(f"behaviour script: {error}", param="simulate") from error
    turns = fields.pop("turns", None)
    if isinstance(turns, str):
        fields["turns"], turns = turns, None
    return _Directive(fields, None if turns is None else read_turns(turns), place)
