"""The writer of a client's streamed response, from events of the typed middle."""

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from api.dialects.base import AnswerContext
from api.dialects.conversation import (
    Event,
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSigned,
    RefusalDelta,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallEnded,
    ToolCallStarted,
)
from api.dialects.openai_responses.output import (
    ItemIds,
    call_item,
    message_item,
    reasoning_item,
    response_object,
    text_part,
)
from api.dialects.openai_responses.stream import event as written
from api.dialects.openai_responses.usage import shown_usage
from billing.pricing.charge import Charge, Usage
from billing.pricing.money import dollars_short_text

_encode = msgspec.json.Encoder().encode
_TEXT_START = (
    b"event: response.output_text.delta\n"
    b'data: {"type":"response.output_text.delta","sequence_number":%d'
)

Json = dict[str, Any]
Kind = Literal["text", "refusal", "reasoning"]


class _OpenItem:
    """An item of the output that is being written."""

    __slots__ = ("call", "id", "kind", "output_index", "pieces", "text_start")

    def __init__(self, kind: str, item_id: str, output_index: int) -> None:
        self.kind = kind
        self.id = item_id
        self.output_index = output_index
        self.pieces: list[str] = []
        self.call: ToolCall | None = None
        # The event of more text, from its number on to the text itself.
        self.text_start = b',"item_id":%b,"output_index":%d,"content_index":0,"delta":' % (
            _encode(item_id),
            output_index,
        )

    @property
    def place(self) -> Json:
        """Where its events belong."""
        return {"item_id": self.id, "output_index": self.output_index}

    @property
    def text(self) -> str:
        """All that came of it."""
        return "".join(self.pieces)


class ReplyWriter:
    """Writes a client's stream of a response: each item opened, filled and closed, all numbered."""

    __slots__ = ("_calls", "_context", "_ids", "_open", "_output", "_reason", "sent_events")

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._ids = ItemIds(context)
        self._open: _OpenItem | None = None
        self._calls: dict[int, _OpenItem] = {}
        self._output: list[Json] = []
        self._reason: FinishReason = "stop"
        self.sent_events = 0

    def write(self, events: Iterable[Event]) -> bytes:
        """Return the client's events."""
        out = self._begin() if not self.sent_events else b""
        for event in events:
            item = self._open
            if type(event) is TextDelta and item is not None and item.kind == "text":
                # By far the most events are of this kind.
                item.pieces.append(event.text)
                start = _TEXT_START % self.sent_events + item.text_start
                out += start + _encode(event.text) + b',"logprobs":[]}\n\n'
                self.sent_events += 1
            else:
                out += self._take(event)
        return out

    def _begin(self) -> bytes:
        response = response_object(self._context, [], None, None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def _event(self, kind: str, **more: Any) -> bytes:
        self.sent_events += 1
        return written(kind, self.sent_events - 1, **more)

    def _take(self, event: Event) -> bytes:
        match event:
            case TextDelta(text):
                out, item = self._opened("text")
                item.pieces.append(text)
                part = {"content_index": 0, "delta": text, "logprobs": []}
                return out + self._event("response.output_text.delta", **item.place, **part)
            case RefusalDelta(text):
                out, item = self._opened("refusal")
                item.pieces.append(text)
                part = {"content_index": 0, "delta": text}
                return out + self._event("response.refusal.delta", **item.place, **part)
            case ReasoningDelta(text):
                out, item = self._opened("reasoning")
                item.pieces.append(text)
                part = {"summary_index": 0, "delta": text}
                kind = "response.reasoning_summary_text.delta"
                return out + self._event(kind, **item.place, **part)
            case ReasoningSigned():
                return self._sign(event)
            case ToolCallStarted():
                return self._closed() + self._call_started(event)
            case ToolCallDelta(index, arguments):
                call = self._calls[index]
                call.pieces.append(arguments)
                return self._event(_delta_kind(call), **call.place, delta=arguments)
            case ToolCallEnded(index):
                return self._call_ended(index)
            case Finished(reason):
                self._reason = reason
                return self._all_closed()

    def _opened(self, kind: Kind) -> tuple[bytes, _OpenItem]:
        """Return the open item of a kind, and the events that open it if it is new."""
        if self._open is not None and self._open.kind == kind:
            return b"", self._open
        out = self._closed()
        prefix = "rs" if kind == "reasoning" else "msg"
        item = self._open = _OpenItem(kind, self._ids.next(prefix), len(self._output))
        if kind == "reasoning":
            shown = reasoning_item(item.id, "", None)
            self._output.append(shown)
            out += self._event(
                "response.output_item.added", output_index=item.output_index, item=shown
            )
            part: Json = {"summary_index": 0, "part": {"type": "summary_text", "text": ""}}
            return out + self._event(
                "response.reasoning_summary_part.added", **item.place, **part
            ), item
        shown = message_item(item.id, [], "in_progress")
        self._output.append(shown)
        out += self._event("response.output_item.added", output_index=item.output_index, item=shown)
        part = {"content_index": 0, "part": _content_part(kind, "")}
        return out + self._event("response.content_part.added", **item.place, **part), item

    def _closed(self, signature: str | None = None) -> bytes:
        """Return the events that close the open item, if there is one."""
        item, self._open = self._open, None
        if item is None:
            return b""
        text = item.text
        if item.kind == "reasoning":
            part: Json = {"summary_index": 0}
            out = self._event(
                "response.reasoning_summary_text.done", **item.place, **part, text=text
            )
            summary = {"type": "summary_text", "text": text}
            out += self._event(
                "response.reasoning_summary_part.done", **item.place, **part, part=summary
            )
            return out + self._done(item, reasoning_item(item.id, text, signature))
        part = {"content_index": 0}
        if item.kind == "refusal":
            out = self._event("response.refusal.done", **item.place, **part, refusal=text)
        else:
            out = self._event(
                "response.output_text.done", **item.place, **part, text=text, logprobs=[]
            )
        content = _content_part(item.kind, text)
        out += self._event("response.content_part.done", **item.place, **part, part=content)
        return out + self._done(item, message_item(item.id, [content]))

    def _done(self, item: _OpenItem, shown: Json) -> bytes:
        self._output[item.output_index] = shown
        return self._event("response.output_item.done", output_index=item.output_index, item=shown)

    def _sign(self, event: ReasoningSigned) -> bytes:
        signature = self._ids.shown_signature(event.signature, event.maker, event.item_id)
        if self._open is not None and self._open.kind == "reasoning":
            return self._closed(signature)
        if signature is None:
            return b""
        out = self._closed()
        item = _OpenItem("reasoning", self._ids.next("rs"), len(self._output))
        shown = reasoning_item(item.id, "", signature)
        self._output.append(shown)
        out += self._event("response.output_item.added", output_index=item.output_index, item=shown)
        return out + self._done(item, shown)

    def _call_started(self, event: ToolCallStarted) -> bytes:
        item = _OpenItem("call", self._ids.next("fc"), len(self._output))
        item.call = ToolCall(event.id, event.name, "", event.kind, event.namespace)
        self._calls[event.index] = item
        shown = call_item(item.id, item.call, "in_progress")
        self._output.append(shown)
        return self._event("response.output_item.added", output_index=item.output_index, item=shown)

    def _call_ended(self, index: int) -> bytes:
        item = self._calls.pop(index, None)
        if item is None or item.call is None:
            return b""
        call, text = item.call, item.text
        kind = _delta_kind(item).removesuffix("delta") + "done"
        name = "input" if call.kind == "custom" else "arguments"
        out = self._event(kind, **item.place, **{name: text})
        whole = ToolCall(call.id, call.name, text, call.kind, call.namespace)
        return out + self._done(item, call_item(item.id, whole, "completed"))

    def _all_closed(self) -> bytes:
        return self._closed() + b"".join(self._call_ended(index) for index in list(self._calls))

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        """Return the events that end the response, with the usage that is charged."""
        out = self.write(()) + self._all_closed()
        figures = shown_usage(None, usage)
        if is_shown:
            figures["cost"] = msgspec.Raw(dollars_short_text(cost.total_nanos).encode())
        response = response_object(self._context, self._output, self._reason, figures)
        return out + self._event(f"response.{response['status']}", response=response)


def _delta_kind(item: _OpenItem) -> str:
    is_custom = item.call is not None and item.call.kind == "custom"
    return (
        "response.custom_tool_call_input.delta"
        if is_custom
        else "response.function_call_arguments.delta"
    )


def _content_part(kind: str, text: str) -> Json:
    return {"type": "refusal", "refusal": text} if kind == "refusal" else text_part(text)
