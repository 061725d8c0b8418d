"""A planned answer in OpenAI's Responses dialect: output items, and the events that build them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from simulator import usage
from simulator.answer import ARGUMENTS, CALL, REASONING, REFUSAL, PlannedAnswer, Unit
from simulator.errors import SimulatedError, error_code
from simulator.events import SLOT, Chunk, EventStream, Json, Template, grouped, limited
from simulator.responses_input import encrypted
from simulator.script import Script

# Stands where a delta's sequence number goes.
_NUMBER_SLOT = "\x01"
_COMPLETE = {"stop", "tool_calls"}
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ITEM_KINDS = {REASONING: "reasoning", CALL: "call", ARGUMENTS: "call"}


@dataclass(slots=True)
class _OpenItem:
    """The item that is being said."""

    kind: str  # of _ITEM_KINDS, or "message"
    unit_field: str  # of its first unit
    call: int
    id: str
    pieces: list[str] = field(default_factory=list)
    # A delta event, before its number and after it.
    delta: tuple[bytes, Template] | None = None

    @property
    def text(self) -> str:
        """Return all that was said of it."""
        return "".join(self.pieces)


class ResponseStream(EventStream):
    """The events of one response; each has the next `sequence_number`."""

    def __init__(
        self,
        answer: PlannedAnswer,
        script: Script,
        *,
        repeated: Json,
        summarised: bool,
        encrypted: bool,
    ) -> None:
        super().__init__(answer, script)
        self._choice = answer.choices[0]
        self._repeated = repeated
        # Reasoning is shown as it is, as a summary, or not at all.
        self._form = "text" if script.dialect == "reasoning" else "summary" if summarised else ""
        self._encrypted = encrypted
        self._items_planned = len(
            {(_ITEM_KINDS.get(unit.field, "message"), unit.call) for unit in self._choice.units}
        )
        self._sequence = 0
        self._output: list[Json] = []
        self._open: _OpenItem | None = None

    def whole(self) -> Json:
        """Return the response in one piece: what the stream's last event carries."""
        for _ in self.texts(None):
            pass
        self._stop_item()
        return self._response(*self._outcome())

    def opening(self) -> bytes:
        """Return `response.created` and `response.in_progress`."""
        started = self._response("in_progress", {}, reported=self.script.usage.place == "early")
        return self._event("response.created", response=started) + self._event(
            "response.in_progress", response=started
        )

    def texts(self, limit: int | None) -> Iterator[Chunk]:
        """Yield the deltas, each item's start and end beside its first and last one."""
        for group in limited(grouped(self._choice, self.script.chunk_tokens), limit):
            unit, text = group.units[0], group.text
            data = self._turn_to(unit)
            if unit.field != CALL and self._open is not None:
                self._open.pieces.append(text)
                data += self._delta(self._open, text)
            yield Chunk(data, group.tokens)

    def closing(self) -> bytes:
        """Return the last item's end and the event that ends the response."""
        data = self._stop_item()
        status, details = self._outcome()
        if status == "in_progress" or not self.script.done:
            return data
        return data + self._event(
            f"response.{status}",
            response=self._response(status, details, reported=self.script.usage.place != "early"),
        )

    def error(self, error: SimulatedError) -> bytes:
        """Return an `error` event."""
        return self._event("error", code=error_code(error), message=error.message, param=None)

    def _outcome(self) -> tuple[str, Json]:
        """Return the status, and the fields that go with it."""
        finish = self._choice.finish
        if finish is None:
            return "in_progress", {}
        if finish in _COMPLETE:
            return "completed", {}
        if reason := _INCOMPLETE.get(finish):
            return "incomplete", {"incomplete_details": {"reason": reason}}
        code = "server_error" if finish == "failed" else finish
        message = self.script.message or "The simulated model failed."
        return "failed", {"error": {"code": code, "message": message}}

    def _response(self, status: str, details: Json, *, reported: bool = True) -> Json:
        response: Json = {
            "id": f"resp_sim_{self.answer.number:08d}",
            "object": "response",
            "created_at": self.answer.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.answer.model,
            "output": list(self._output),
            **self._repeated,
            **details,
        }
        if reported and not self.script.usage.missing:
            response["usage"] = usage.responses_usage(self.answer.counts, self.script)
        elif not self.script.usage.missing:
            response["usage"] = None
        return response

    def _turn_to(self, unit: Unit) -> bytes:
        """Return what ends the open item and begins this unit's, if it is not the same."""
        kind = _ITEM_KINDS.get(unit.field, "message")
        now = self._open
        if now is not None and (now.kind, now.call) == (kind, unit.call):
            return b""
        data = self._stop_item()
        prefix = {"reasoning": "rs", "message": "msg"}.get(kind, "fc")
        item_id = f"{prefix}_sim_{self.answer.number:08d}_{len(self._output)}"
        self._open = _OpenItem(kind, unit.field, unit.call, item_id)
        data += self._item_event("response.output_item.added", item=self._item(self._open, ""))
        if self._has_part(self._open):
            part = self._part(self._open)
            data += self._item_event("response.content_part.added", content_index=0, part=part)
        elif kind == "reasoning" and self._form == "summary":
            part = {"type": "summary_text", "text": ""}
            data += self._item_event(
                "response.reasoning_summary_part.added", summary_index=0, part=part
            )
        return data

    def _delta(self, item: _OpenItem, text: str) -> bytes:
        if item.delta is None:
            name, fields = self._text_event(item)
            if not name:
                return b""
            item.delta = self._delta_template(item, f"{name}.delta", fields)
        before_number, template = item.delta
        number = str(self._sequence).encode()
        self._sequence += 1
        return before_number + number + template.filled(text)

    def _delta_template(self, item: _OpenItem, name: str, fields: Json) -> tuple[bytes, Template]:
        event = {
            "type": name,
            "sequence_number": _NUMBER_SLOT,
            "output_index": len(self._output),
            "item_id": item.id,
            **fields,
            "delta": SLOT,
        }
        head, tail = self.events.template(event, name)
        before, _, after = head.partition(json.dumps(_NUMBER_SLOT).encode())
        return before, Template(after, tail)

    def _text_event(self, item: _OpenItem) -> tuple[str, Json]:
        """Return the name and the place of the events with an item's text; none if it is hidden."""
        match item.kind:
            case "call" if self._choice.calls[item.call].free_text:
                return "response.custom_tool_call_input", {}
            case "call":
                return "response.function_call_arguments", {}
            case "reasoning" if self._form == "summary":
                return "response.reasoning_summary_text", {"summary_index": 0}
            case "reasoning":
                return "response.reasoning_text" if self._form else "", {"content_index": 0}
        if item.unit_field == REFUSAL:
            return "response.refusal", {"content_index": 0}
        return "response.output_text", {"content_index": 0, "logprobs": []}

    def _stop_item(self) -> bytes:
        item = self._open
        if item is None:
            return b""
        data = b""
        name, fields = self._text_event(item)
        if name:
            key = {
                "response.function_call_arguments": "arguments",
                "response.custom_tool_call_input": "input",
                "response.refusal": "refusal",
            }.get(name, "text")
            data += self._item_event(f"{name}.done", **fields, **{key: item.text})
        if self._has_part(item):
            data += self._item_event(
                "response.content_part.done", content_index=0, part=self._part(item)
            )
        elif name == "response.reasoning_summary_text":
            part = {"type": "summary_text", "text": item.text}
            data += self._item_event(
                "response.reasoning_summary_part.done", summary_index=0, part=part
            )
        finished = self._item(item, self._item_status())
        data += self._item_event("response.output_item.done", item=finished)
        self._output.append(finished)
        self._open = None
        return data

    def _item_status(self) -> str:
        """Return the status of an item at its end: the last one may have been cut."""
        last = len(self._output) + 1 == self._items_planned
        return "incomplete" if self._choice.finish == "length" and last else "completed"

    def _item(self, item: _OpenItem, status: str) -> Json:
        """Return the item as it is so far; without a status it has only begun."""
        stated = {"status": status or "in_progress"}
        if item.kind == "reasoning":
            return self._reasoning_item(item, ended=bool(status))
        if item.kind == "message":
            content = [self._part(item)] if status else []
            message = {"id": item.id, "type": "message", **stated, "role": "assistant"}
            return message | {"content": content}
        call = self._choice.calls[item.call]
        kind, key = (
            ("custom_tool_call", "input") if call.free_text else ("function_call", "arguments")
        )
        named = {"call_id": call.id, "name": call.name}
        if call.namespace:
            named["namespace"] = call.namespace
        return {"id": item.id, "type": kind, **stated, **named, key: item.text}

    def _reasoning_item(self, item: _OpenItem, *, ended: bool) -> Json:
        body: Json = {"id": item.id, "type": "reasoning", "summary": []}
        if ended and self._form == "summary":
            body["summary"] = [{"type": "summary_text", "text": item.text}]
        if ended and self._form == "text":
            body["content"] = [self._part(item)]
        if ended and self._encrypted:
            body["encrypted_content"] = encrypted(item.text)
        return body

    def _has_part(self, item: _OpenItem) -> bool:
        """Return whether the item's text is a content part."""
        return item.kind == "message" or (item.kind == "reasoning" and self._form == "text")

    def _part(self, item: _OpenItem) -> Json:
        if item.kind == "reasoning":
            return {"type": "reasoning_text", "text": item.text}
        if item.unit_field == REFUSAL:
            return {"type": "refusal", "refusal": item.text}
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": item.text}

    def _item_event(self, name: str, **fields: Any) -> bytes:
        item_id = {} if self._open is None or "item" in fields else {"item_id": self._open.id}
        return self._event(name, output_index=len(self._output), **item_id, **fields)

    def _event(self, name: str, **fields: Any) -> bytes:
        numbered = {"type": name, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return self.events.of(numbered, name)
