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


@dataclass(slots=True)
class ScriptedRequest(Generic[Fields]):
    """A request that was understood."""

    exchange: HttpExchange
    fields: Fields
    script: Script

    @property
    def usage_asked(self) -> bool:
        """Return whether `stream_options.include_usage` is on."""
        options = getattr(self.fields, "stream_options", None)
        return bool(options and options.include_usage)

    def lay_over(self, in_prompt: Any) -> None:
        """Apply the script in the prompt on top of the others."""
        body_field = self.exchange.request.json().get("simulate")
        self.script = script_of(self.exchange, self.exchange.entry.model, body_field, in_prompt)

    def note(self, prompt_tokens: int, **sizes: int) -> None:
        """Add to the journal what only the endpoint can count."""
        self.exchange.entry.prompt_tokens = prompt_tokens
        self.exchange.entry.params |= sizes


def read_scripted_request(
    exchange: HttpExchange, kind: type[Fields], form: dict[str, Any] | None = None
) -> ScriptedRequest[Fields]:
    """Return the request's fields and script, and enter both in the journal.

    The fields are the JSON body's, or those of a form, whose values are texts. The entry is filled
    step by step, so that a refused call shows as much of itself as could be read. Raise
    SimulatedError where the body or the script is malformed.
    """
    body = exchange.request.json() if form is None else form
    entry = exchange.entry
    entry.params = public_params(body)
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise SimulatedError("model: a name is needed", param="model")
    entry.model = model
    entry.stream = body.get("stream") is True or body.get("stream") == "true"
    script = script_of(exchange, model, body.get("simulate"))
    try:
        fields = msgspec.convert(body, kind, strict=form is None)
    except msgspec.ValidationError as error:
        raise SimulatedError(str(error), param=_param(str(error))) from error
    return ScriptedRequest(exchange, fields, script)


def script_of(
    exchange: HttpExchange, model: str, field: Any = None, in_prompt: Any = None
) -> Script:
    """Return a call's script, and apply the parts that hold for every response."""
    header = exchange.request.headers.get("x-simulate", "")
    script = read_script(model, header, field, in_prompt)
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
