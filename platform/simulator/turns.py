"""Scripted agent turns: what a model answers first, after the first tool result, and so on.

A plan is a list of turns. How many tool results the conversation holds decides which of them is
due, so the simulator keeps no state and an agent may repeat a request. A turn with N calls is
over when their N results are there; a turn without calls is the last one reached.

    [{"text": "I read it first.", "calls": [{"name": "Read", "input": {"file_path": "a.txt"}}]},
     {"calls": [{"name": "Edit", "input": {…}}, {"name": "Bash", "input": {…}}]},
     {"text": "Done."}]

A plan is laid down under a name (`PUT /turns/NAME`, then the key `turns=NAME` in any script), or
is part of the prompt: see `prompt.py`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from simulator.errors import SimulatedError

MAX_PLANS = 10_000


class TurnCall(msgspec.Struct, forbid_unknown_fields=True):
    """A tool call of a turn. A text as `input` is sent as it is, also where JSON is expected."""

    name: str
    input: dict[str, Any] | str = {}
    namespace: str = ""


class Turn(msgspec.Struct, forbid_unknown_fields=True):
    """One answer of the model. Without `reasoning` the script's holds."""

    text: str = ""
    calls: list[TurnCall] = []
    reasoning: str | None = None


_plans: dict[str, list[Turn]] = {}


def read_turns(value: Any) -> list[Turn]:
    """Return a plan from its JSON value. Raise SimulatedError where it is none."""
    try:
        turns = msgspec.convert(value, list[Turn])
    except msgspec.ValidationError as error:
        raise SimulatedError(f"turns: {error}", param="turns") from error
    if not turns:
        raise SimulatedError("turns: at least one is needed", param="turns")
    return turns


def put_plan(name: str, turns: list[Turn]) -> None:
    """Keep a plan under a name, in place of an older one."""
    if len(_plans) >= MAX_PLANS and name not in _plans:
        raise SimulatedError("turns: too many plans; DELETE /journal forgets them", status=413)
    _plans[name] = turns


def plan_named(name: str) -> list[Turn]:
    """Return a plan by its name. Raise SimulatedError where there is none."""
    if name not in _plans:
        raise SimulatedError(f"turns: no plan is named {name!r}", param="turns")
    return _plans[name]


def clear_plans() -> None:
    """Forget all plans."""
    _plans.clear()


def due_turn(turns: Sequence[Turn], results: int) -> Turn:
    """Return the turn that follows so many tool results; past the end, the last one."""
    for turn in turns:
        if results < len(turn.calls) or not turn.calls:
            return turn
        results -= len(turn.calls)
    return Turn(text="Done.")
