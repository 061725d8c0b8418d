"""The plan of a chat or completion response, complete before the first byte is sent.

A plan is a list of units per choice. A unit is one token (or a bit of markup worth none) and the
field it belongs to, so that a plain answer, a stream and a stream cut after N tokens are three
readings of the same plan.
"""

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator import text
from simulator.schema_sample import sample
from simulator.script import Script, split_model
from simulator.turns import Turn
from simulator.usage import Counts

CONTENT = "content"
REASONING = "reasoning"
REFUSAL = "refusal"
ARGUMENTS = "arguments"
# Opens a tool call; its text is the tool's name.
CALL = "call"

# Models that reason although nothing asks them to, unless a script says otherwise.
REASONING_MODELS = {"glm-4.7", "sim-reasoning"}
DEFAULT_REASONING_TOKENS = 8

_numbers = itertools.count(1)


class Unit(NamedTuple):
    """A piece of an answer that is never cut further."""

    field: str
    text: str
    tokens: int = 1
    call: int = 0  # which of the choice's tool calls it belongs to


class ToolCall(NamedTuple):
    """A call of a tool. `arguments` is JSON, or any text where the tool takes free text."""

    name: str
    arguments: str
    free_text: bool = False
    namespace: str = ""
    id: str = ""

    @property
    def input(self) -> dict[str, Any]:
        """Return the arguments as an object; an empty one where they are none."""
        try:
            value = json.loads(self.arguments)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """The parameters of a request that shape its answer, for any endpoint."""

    choices: int = 1
    max_tokens: int | None = None
    prompt_tokens: int = 0
    reasoning: bool | None = None  # None: the request doesn't say
    calls: Sequence[ToolCall] = ()
    tool_results: int = 0  # in the conversation so far: call ids count on from there
    json_schema: Any = None  # the schema, or True for any JSON object
    stop: Sequence[str] = ()
    turn: Turn | None = None  # the answer a test has laid out


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of an answer."""

    index: int
    units: list[Unit]
    finish: str | None
    tokens: int
    reasoning: int  # how many of the tokens are reasoning
    calls: tuple[ToolCall, ...] = ()
    stop: str | None = None  # the stop sequence that ended it

    @property
    def opens_with_call(self) -> bool:
        """Return whether a tool call is the first thing in it."""
        return bool(self.units) and self.units[0].field == CALL

    def joined(self, field: str) -> str:
        """Return the whole text of one field."""
        return "".join(unit.text for unit in self.units if unit.field == field)


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    """The whole plan."""

    number: int
    created: int
    model: str
    choices: list[Choice]
    counts: Counts


def plan(model: str, request: AnswerRequest, script: Script) -> PlannedAnswer:
    """Return the answer to a request under a script. Same arguments, same texts."""
    choices = [_choice(index, model, request, script) for index in range(request.choices)]
    prompt = request.prompt_tokens if script.prompt_tokens is None else script.prompt_tokens
    completion = sum(choice.tokens for choice in choices)
    reasoning = sum(choice.reasoning for choice in choices)
    return PlannedAnswer(
        number=next(_numbers),
        created=int(time.time()),
        model=model,
        choices=choices,
        counts=Counts(prompt, completion, reasoning),
    )


def _choice(index: int, model: str, request: AnswerRequest, script: Script) -> Choice:
    wanted_reasoning = _reasoning_units(index, model, request, script)
    wanted_answer, natural_finish = _answer_units(index, request, script)
    reasoning, answer = wanted_reasoning, wanted_answer
    if request.max_tokens is not None:
        reasoning = reasoning[: request.max_tokens]
        answer = _within(answer, request.max_tokens - len(reasoning))
    cut = (len(reasoning), len(answer)) < (len(wanted_reasoning), len(wanted_answer))
    answer, stop = _stopped(answer, request.stop)
    if stop is not None:
        natural_finish = "stop"
    elif cut:
        natural_finish = "length"
    finish = script.finish or natural_finish
    think = script.dialect == "think"
    return Choice(
        index=index,
        units=_in_tags(reasoning, answer, cut=cut) if think else reasoning + answer,
        finish=None if finish == "none" else finish,
        tokens=len(reasoning) + sum(unit.tokens for unit in answer),
        reasoning=len(reasoning),
        calls=_made_calls(index, request, answer),
        stop=stop,
    )


def _reasoning_units(index: int, model: str, request: AnswerRequest, script: Script) -> list[Unit]:
    field = CONTENT if script.dialect == "think" else REASONING
    if script.content == "empty" or request.reasoning is False:
        return []
    if request.turn is not None and request.turn.reasoning is not None:
        return _text_units(field, request.turn.reasoning)
    count = script.reasoning
    if count is None:
        unscripted = not script.text and split_model(model)[0] in REASONING_MODELS
        count = DEFAULT_REASONING_TOKENS if request.reasoning or unscripted else 0
    return _words(field, count, text.REASONING_OFFSET + index * text.CHOICE_OFFSET)


def _answer_units(index: int, request: AnswerRequest, script: Script) -> tuple[list[Unit], str]:
    """Return the units of the answer proper, and how it ends when nothing cuts it."""
    offset = index * text.CHOICE_OFFSET
    if script.content == "empty":
        return [], "stop"
    if script.content == "refusal":
        return _words(REFUSAL, script.tokens, offset), "stop"
    if request.turn is not None:
        calls = _call_units(request.calls)
        return _text_units(CONTENT, request.turn.text) + calls, "tool_calls" if calls else "stop"
    if request.calls:
        return _call_units(request.calls), "tool_calls"
    if request.json_schema is not None:
        value = {"city": "Tokyo", "ok": True}
        if request.json_schema is not True:
            value = sample(request.json_schema)
        return _text_units(CONTENT, json.dumps(value, separators=(",", ":"))), "stop"
    return _words(CONTENT, script.tokens, offset), "stop"


def _text_units(field: str, whole: str) -> list[Unit]:
    return [Unit(field, piece) for piece in text.pieces(whole)]


def _call_units(calls: Sequence[ToolCall]) -> list[Unit]:
    units: list[Unit] = []
    for place, call in enumerate(calls):
        units.append(Unit(CALL, call.name, 0, place))
        units += [Unit(ARGUMENTS, piece, 1, place) for piece in text.pieces(call.arguments)]
    return units


def _within(units: list[Unit], limit: int) -> list[Unit]:
    """Return the units of at most `limit` tokens; no call is opened that has no token left."""
    if not units or units[-1].field not in {CALL, ARGUMENTS}:
        return units[:limit]  # calls come last: there are none
    kept: list[Unit] = []
    left = limit
    for unit in units:
        if unit.tokens > left:
            break
        kept.append(unit)
        left -= unit.tokens
    while len(kept) < len(units) and kept and kept[-1].field == CALL:
        kept.pop()
    return kept


def _stopped(units: list[Unit], sequences: Sequence[str]) -> tuple[list[Unit], str | None]:
    """Return the units before the first stop sequence in the content, and that sequence."""
    if not sequences:
        return units, None
    content = "".join(unit.text for unit in units if unit.field == CONTENT)
    found = [(content.find(sequence), sequence) for sequence in sequences if sequence]
    at, sequence = min((each for each in found if each[0] >= 0), default=(-1, ""))
    if at < 0:
        return units, None
    kept: list[Unit] = []
    left = at
    for unit in units:
        if left <= 0:
            break
        if unit.field == CONTENT:
            kept.append(unit._replace(text=unit.text[:left]))
            left -= len(unit.text)
    return kept, sequence


def _made_calls(index: int, request: AnswerRequest, units: list[Unit]) -> tuple[ToolCall, ...]:
    """Return the calls as far as they are in the answer, each with its id."""
    opened = {unit.call for unit in units if unit.field == CALL}
    return tuple(
        call._replace(
            arguments="".join(
                unit.text for unit in units if unit.field == ARGUMENTS and unit.call == place
            ),
            id=_call_id(index, request.tool_results + place),
        )
        for place, call in enumerate(request.calls)
        if place in opened
    )


def _call_id(choice: int, serial: int) -> str:
    """Return the same id for the same call, another for each call of a conversation."""
    return f"call_sim{choice:04d}" + (f"_{serial}" if serial else "")


def _words(field: str, count: int, offset: int) -> list[Unit]:
    """Return tokens of the list in turn. They share 64 units: a million cost milliseconds."""
    start = offset % len(text.WORDS)
    units = [Unit(field, word) for word in text.WORDS[start:] + text.WORDS[:start]]
    return list(itertools.islice(itertools.cycle(units), count))


def _in_tags(reasoning: list[Unit], answer: list[Unit], *, cut: bool) -> list[Unit]:
    if not reasoning:
        return answer
    # The tags are cut where a parser would least like it: inside, and glued to their neighbours.
    first, *rest = reasoning
    units = [Unit(CONTENT, "<th", 0), Unit(CONTENT, "ink>" + first.text), *rest]
    if cut and not answer:
        # Cut off while reasoning: as with real models, the tag is never closed.
        return units
    units[-1] = Unit(CONTENT, units[-1].text + "</thi")
    if not answer or answer[0].field != CONTENT:
        return [*units, Unit(CONTENT, "nk>", 0), *answer]
    return [*units, Unit(CONTENT, "nk>" + answer[0].text), *answer[1:]]
