"""A planned answer in Anthropic's dialect: the message, and the events that build it."""

from collections.abc import Iterator
from typing import Any

from simulator import usage
from simulator.answer import (
    CALL,
    CONTENT,
    REASONING,
    REFUSAL,
    Choice,
    PlannedAnswer,
    ToolCall,
    Unit,
)
from simulator.errors import SimulatedError
from simulator.events import SLOT, Chunk, EventStream, Json, Template, grouped, limited
from simulator.messages_content import signature
from simulator.script import Script
from simulator.usage import Counts

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_BLOCK_KINDS = {REASONING: "thinking", CONTENT: "text", REFUSAL: "text"}

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_details(error: SimulatedError) -> Json:
    """Return Anthropic's `error` object: a scripted code goes as the type."""
    kind = error.code or _ERROR_TYPES.get(error.status, "api_error")
    return {"type": kind, "message": error.message}


def message_body(answer: PlannedAnswer, script: Script, *, hidden: bool) -> Json:
    """Return the whole message; `hidden` thinking has its signature and no text."""
    choice = answer.choices[0]
    reason, sequence = _stop(choice, script)
    return _shell(answer) | {
        "content": _content(choice, hidden=hidden),
        "stop_reason": reason,
        "stop_sequence": sequence,
        **_usage_field(usage.anthropic_usage(answer.counts, script), script),
    }


class MessageStream(EventStream):
    """The events of one message: content blocks one after the other, never interleaved."""

    def __init__(self, answer: PlannedAnswer, script: Script, *, hidden: bool) -> None:
        super().__init__(answer, script)
        self._choice = answer.choices[0]
        self._hidden = hidden
        self._started = False
        self._index = -1
        self._open: tuple[str, int] | None = None  # the kind of block and, of a call, which
        self._thinking: list[str] = []
        self._template: Template | None = None

    @property
    def keepalive(self) -> bytes:
        """Return a comment, or a `ping` event."""
        return self._event("ping") if self.script.pings else super().keepalive

    def lead_in(self) -> bytes:
        """Return the first keep-alive; a ping comes after the message's start."""
        if not self.script.pings:
            return super().lead_in()
        return self.opening() + self.keepalive

    def opening(self) -> bytes:
        """Return `message_start`, once."""
        if self._started:
            return b""
        self._started = True
        counts, script = self.answer.counts, self.script
        match script.usage.place:
            case "early":
                told = usage.anthropic_usage(counts, script)
            case "last_chunk":
                told = usage.bent({"input_tokens": 0, "output_tokens": 0}, script.usage.value)
            case _:
                started = Counts(counts.prompt, min(counts.completion, 1), 0)
                told = usage.anthropic_usage(started, script)
        message = _shell(self.answer) | {"content": [], "stop_reason": None, "stop_sequence": None}
        return self._event("message_start", message=message | _usage_field(told, script))

    def texts(self, limit: int | None) -> Iterator[Chunk]:
        """Yield the deltas, each block's start and stop beside its first and last one."""
        groups = grouped(self._choice, self.script.chunk_tokens)
        for group in limited(groups, limit):
            unit = group.units[0]
            data = self._turn_to(unit)
            if unit.field == REASONING:
                self._thinking.append(group.text)
            if unit.field != CALL and not (unit.field == REASONING and self._hidden):
                data += self._delta(unit.field, group.text)
            yield Chunk(data, group.tokens)

    def closing(self) -> bytes:
        """Return the last block's stop, `message_delta` and `message_stop`."""
        data = self._stop_block()
        script = self.script
        reason, sequence = _stop(self._choice, script)
        if self._choice.finish is None:
            return data
        told = usage.anthropic_usage(self.answer.counts, script)
        if isinstance(told, dict):
            # These stand in `message_start` only.
            told = {
                name: count
                for name, count in told.items()
                if name not in {"cache_creation", "service_tier"}
            }
            if script.usage.place == "early":
                told = {"output_tokens": told["output_tokens"]}
        delta = self._event(
            "message_delta",
            delta={"stop_reason": reason, "stop_sequence": sequence},
            **_usage_field(told, script),
        )
        times = 2 if script.usage.place == "twice" else 1
        return data + delta * times + (self._event("message_stop") if script.done else b"")

    def error(self, error: SimulatedError) -> bytes:
        """Return an `error` event."""
        return self._event("error", error=error_details(error))

    def _turn_to(self, unit: Unit) -> bytes:
        """Return what closes the open block and opens this unit's, if it is not the same."""
        kind = _BLOCK_KINDS.get(unit.field, "tool_use")
        block = (kind, unit.call)
        if block == self._open:
            return b""
        data = self._stop_block()
        self._open, self._template = block, None
        self._index += 1
        return data + self._event(
            "content_block_start", index=self._index, content_block=self._empty_block(*block)
        )

    def _empty_block(self, kind: str, call: int) -> Json:
        match kind:
            case "thinking":
                return {"type": kind, "thinking": "", "signature": ""}
            case "text":
                return {"type": kind, "text": ""}
        made = self._choice.calls[call]
        return {"type": kind, "id": _tool_use_id(made), "name": made.name, "input": {}}

    def _stop_block(self) -> bytes:
        if self._open is None:
            return b""
        signed = b""
        if self._open[0] == "thinking":
            signed = self._event(
                "content_block_delta",
                index=self._index,
                delta={"type": "signature_delta", "signature": signature("".join(self._thinking))},
            )
        self._open = None
        return signed + self._event("content_block_stop", index=self._index)

    def _delta(self, field: str, text: str) -> bytes:
        if self._template is None:
            match field:
                case "arguments":
                    delta = {"type": "input_json_delta", "partial_json": SLOT}
                case "reasoning":
                    delta = {"type": "thinking_delta", "thinking": SLOT}
                case _:
                    delta = {"type": "text_delta", "text": SLOT}
            name = "content_block_delta"
            body = {"type": name, "index": self._index, "delta": delta}
            self._template = self.events.template(body, name)
        return self._template.filled(text)

    def _event(self, name: str, **fields: Any) -> bytes:
        return self.events.of({"type": name, **fields}, name)


def _shell(answer: PlannedAnswer) -> Json:
    return {
        "id": f"msg_sim_{answer.number:08d}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
    }


def _content(choice: Choice, *, hidden: bool) -> list[Json]:
    blocks: list[Json] = []
    if thinking := choice.joined(REASONING):
        shown = "" if hidden else thinking
        blocks.append({"type": "thinking", "thinking": shown, "signature": signature(thinking)})
    if said := choice.joined(CONTENT) + choice.joined(REFUSAL):
        blocks.append({"type": "text", "text": said})
    for call in choice.calls:
        block = {"type": "tool_use", "id": _tool_use_id(call), "name": call.name}
        blocks.append(block | {"input": call.input})
    return blocks


def _stop(choice: Choice, script: Script) -> tuple[str | None, str | None]:
    """Return the stop reason and the stop sequence."""
    if choice.finish is None:
        return None, None
    if choice.stop is not None and not script.finish:
        return "stop_sequence", choice.stop
    if script.content == "refusal" and not script.finish:
        return "refusal", None
    # Anthropic's own words go as they are.
    return _STOP_REASONS.get(choice.finish, choice.finish), None


def _tool_use_id(call: ToolCall) -> str:
    return call.id.replace("call_", "toolu_", 1)


def _usage_field(told: Any, script: Script) -> Json:
    return {} if script.usage.missing else {"usage": told}
