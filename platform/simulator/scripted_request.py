"""The first steps of every generating endpoint: the body, the script and the journal entry."""

from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.journal import public_params
from simulator.script import Script, read_script

Flag = bool | None
MaxTokens = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None
Choices = Annotated[int, msgspec.Meta(ge=1, le=128)] | None

Fields = TypeVar("Fields", bound=msgspec.Struct)


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: Flag = None


@dataclass(frozen=True, slots=True)
class ScriptedRequest(Generic[Fields]):
    """A valid request and the script it is answered by."""

    exchange: HttpExchange
    fields: Fields
    script: Script

    @property
    def usage_asked(self) -> bool:
        """Return whether `stream_options.include_usage` is on."""
        options = getattr(self.fields, "stream_options", None)
        return bool(options and options.include_usage)

    def note(self, prompt_tokens: int, **sizes: int) -> None:
        """Add to the journal what only the endpoint can count."""
        self.exchange.entry.prompt_tokens = prompt_tokens
        self.exchange.entry.params |= sizes


def read_scripted_request(exchange: HttpExchange, kind: type[Fields]) -> ScriptedRequest[Fields]:
    """Return the request's fields and script, and enter both in the journal.

    Raise SimulatedError where the body or the script is malformed. The entry is filled step by
    step, so that a refused call shows as much of itself as could be read.
    """
    body = exchange.request.json()
    entry = exchange.entry
    entry.params = public_params(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise SimulatedError("model: a name is needed", param="model")
    entry.model = model
    entry.stream = body.get("stream") is True
    script = script_of(exchange, model, body.get("simulate"))
    try:
        fields = msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise SimulatedError(str(error), param=_param(str(error))) from error
    return ScriptedRequest(exchange, fields, script)


def script_of(exchange: HttpExchange, model: str, field: Any = None) -> Script:
    """Return a call's script, and apply the parts that hold for every response."""
    script = read_script(model, exchange.request.headers.get("x-simulate", ""), field)
    exchange.entry.script = script.text
    exchange.split = script.split
    return script


def _param(message: str) -> str | None:
    """Return the field a validation error is about: its text ends in "- at `$.name`"."""
    _, found, path = message.rpartition("`$.")
    if found:
        return path.rstrip("`")
    # "Object missing required field `messages`"
    parts = message.split("`")
    return parts[1] if len(parts) > 2 else None
