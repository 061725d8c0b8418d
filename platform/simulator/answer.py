"""The plan of a chat or completion response, complete before the first byte is sent.

A plan is a list of units per choice. A unit is one token (or a bit of markup worth none) and the
field it belongs to, so that a plain answer, a stream and a stream cut after N tokens are three
readings of the same plan.
"""

import itertools
import json
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator import text
from simulator.schema_sample import sample
from simulator.script import Script
from simulator.usage import Counts

CONTENT = "content"
ARGUMENTS = "arguments"
# Opens a tool call; its text is the function's name.
CALL = "call"

_calls = itertools.count(1)


class Unit(NamedTuple):
    """A piece of an answer that is never cut further."""

    field: str
    text: str
    tokens: int = 1


@dataclass(frozen=True, slots=True)
class AnswerRequest:
    """The parameters of a request that shape its answer, for any endpoint."""

    choices: int = 1
    max_tokens: int | None = None
    prompt_tokens: int = 0
    reasoning: bool | None = None  # None: the request doesn't say
    function: dict[str, Any] | None = None
    json_schema: Any = None  # the schema, or True for any JSON object


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of an answer."""

    index: int
    units: list[Unit]
    finish: str | None
    tokens: int
    reasoning: int  # how many of the tokens are reasoning
    function: str = ""  # the name of the function it calls

    @property
    def call_id(self) -> str:
        """Return the id of its tool call, the same for the same choice."""
        return f"call_sim{self.index:04d}"

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
    choices = [_choice(index, request, script) for index in range(request.choices)]
    prompt = request.prompt_tokens if script.prompt_tokens is None else script.prompt_tokens
    completion = sum(choice.tokens for choice in choices)
    reasoning = sum(choice.reasoning for choice in choices)
    return PlannedAnswer(
        number=next(_calls),
        created=int(time.time()),
        model=model,
        choices=choices,
        counts=Counts(prompt, completion, reasoning),
    )


def _choice(index: int, request: AnswerRequest, script: Script) -> Choice:
    field = CONTENT if script.dialect == "think" else script.dialect
    offset = index * text.CHOICE_OFFSET
    reasoning = _words(field, _reasoning_tokens(request, script), text.REASONING_OFFSET + offset)
    answer, natural_finish = _answer_units(index, request, script)
    wanted_tokens = len(reasoning) + len(answer)
    if request.max_tokens is not None:
        reasoning = reasoning[: request.max_tokens]
        answer = answer[: request.max_tokens - len(reasoning)]
    tokens = len(reasoning) + len(answer)
    cut = tokens < wanted_tokens
    if request.function is not None and answer and reasoning:
        # Without reasoning the call is opened together with the role.
        answer = [Unit(CALL, request.function["name"], 0), *answer]
    finish = script.finish or ("length" if cut else natural_finish)
    think = script.dialect == "think"
    return Choice(
        index=index,
        units=_in_tags(reasoning, answer, cut=cut) if think else reasoning + answer,
        finish=None if finish == "none" else finish,
        tokens=tokens,
        reasoning=len(reasoning),
        function=str(request.function["name"]) if request.function is not None and answer else "",
    )


def _reasoning_tokens(request: AnswerRequest, script: Script) -> int:
    if script.content == "empty" or request.reasoning is False:
        return 0
    if script.reasoning is not None:
        return script.reasoning
    return 8 if request.reasoning else 0


def _answer_units(index: int, request: AnswerRequest, script: Script) -> tuple[list[Unit], str]:
    """Return the units of the answer proper, and how it ends when nothing cuts it."""
    if script.content == "empty":
        return [], "stop"
    if request.function is not None:
        schema = request.function.get("parameters") or {"type": "object"}
        arguments = json.dumps(sample(schema), separators=(",", ":"))
        return [Unit(ARGUMENTS, piece) for piece in text.pieces(arguments)], "tool_calls"
    if request.json_schema is not None:
        value = {"city": "Tokyo", "ok": True}
        if request.json_schema is not True:
            value = sample(request.json_schema)
        whole = json.dumps(value, separators=(",", ":"))
        return [Unit(CONTENT, piece) for piece in text.pieces(whole)], "stop"
    return _words(CONTENT, script.tokens, index * text.CHOICE_OFFSET), "stop"


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
