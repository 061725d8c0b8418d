"""What a chunk of a stream costs to read and write, passed and translated, by pair of dialects.

`python -m tests.bench.translation` prints one JSON object: thread CPU in microseconds a chunk, for
each pair of a client's and an upstream's dialect, and for plain answers put together of streams.
All pairs take turns within a round, and the least of the rounds counts, so that what else the
machine does is left out. The server's own work for a chunk (sockets, the loop) comes on top and is
the same for all, so the ratios here are more than those of whole streams.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from api.dialects import DIALECTS, link  # noqa: E402
from api.dialects.base import AnswerContext, Dialect  # noqa: E402

CHUNKS = 2_000
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5")) * 2
NAMES = {"openai_chat": "chat", "anthropic_messages": "messages", "openai_responses": "responses"}
WORD = "tok "

Json = dict[str, Any]


def _data(event: Json) -> bytes:
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def _named(event: Json) -> bytes:
    return b"event: " + event["type"].encode() + b"\n" + _data(event)


def _chat() -> tuple[list[bytes], list[bytes], list[bytes]]:
    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_790_000_000}
        return _data({**head, "model": "upstream-model", "choices": [choice]})

    middle = [chunk({"content": f"{WORD}{number} "}) for number in range(CHUNKS)]
    return [chunk({"role": "assistant", "content": ""})], middle, [chunk({}, "stop")]


def _messages() -> tuple[list[bytes], list[bytes], list[bytes]]:
    def delta(number: int) -> bytes:
        text = {"type": "text_delta", "text": f"{WORD}{number} "}
        return _named({"type": "content_block_delta", "index": 0, "delta": text})

    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": []}
    usage = {"input_tokens": 5, "output_tokens": 1}
    block = {"type": "text", "text": ""}
    begin = [
        _named({"type": "message_start", "message": {**message, "usage": usage}}),
        _named({"type": "content_block_start", "index": 0, "content_block": block}),
    ]
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    return (
        begin,
        [delta(number) for number in range(CHUNKS)],
        [
            _named({"type": "content_block_stop", "index": 0}),
            _named({"type": "message_delta", "delta": end, "usage": {"output_tokens": 9}}),
            _named({"type": "message_stop"}),
        ],
    )


def _responses() -> tuple[list[bytes], list[bytes], list[bytes]]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}

    def event(kind: str, number: int, **more: Any) -> bytes:
        return _named({"type": f"response.{kind}", "sequence_number": number, **more})

    response = {"id": "resp_1", "object": "response", "status": "in_progress", "output": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    middle = [
        event("output_text.delta", number + 2, **place, delta=f"{WORD}{number} ", logprobs=[])
        for number in range(CHUNKS)
    ]
    return (
        [
            event("created", 0, response=response),
            event("output_item.added", 1, output_index=0, item=item),
        ],
        middle,
        [event("completed", CHUNKS + 2, response={**response, "status": "completed"})],
    )


STREAMS = {"openai_chat": _chat, "anthropic_messages": _messages, "openai_responses": _responses}
ASKED: dict[str, Json] = {
    "openai_chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "anthropic_messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    "openai_responses": {"input": "Hi"},
}


def _context(downstream: str) -> tuple[Dialect, AnswerContext]:
    client = DIALECTS[downstream]
    fields = {"model": "public-model", **ASKED[downstream], "stream": True}
    request = client.parse(fields, 100)
    return client, AnswerContext(request, "public-model", "reasoning_content", answer_id="a1")


def streamed(downstream: str, upstream: str) -> Callable[[], float]:
    """Return a measurement of one stream's chunks, between its first events and its last."""
    begin, middle, _ = STREAMS[upstream]()
    client, context = _context(downstream)
    dialect = link(client, upstream)
    assert dialect is not None

    def measure() -> float:
        reader = dialect.stream_reader(context)
        for event in begin:
            reader.feed(event)
        feed = reader.feed
        began = time.thread_time_ns()
        for event in middle:
            feed(event)
        spent = time.thread_time_ns() - began
        assert reader.error is None
        assert reader.text_bytes > CHUNKS * len(WORD)
        return spent / CHUNKS / 1000

    return measure


def assembled(upstream: str) -> Callable[[], float]:
    """Return a measurement of a plain answer that is put together of a stream's chunks."""
    events = [event for part in STREAMS[upstream]() for event in part]
    _, context = _context(upstream)

    def measure() -> float:
        assembler = DIALECTS[upstream].assembler(context)
        assert assembler is not None
        began = time.thread_time_ns()
        for event in events:
            assembler.feed(event)
        assert len(assembler.finish()) > CHUNKS * len(WORD)
        return (time.thread_time_ns() - began) / CHUNKS / 1000

    return measure


def main() -> None:
    """Measure all pairs in turns and print the least of each."""
    sides = {
        f"{NAMES[downstream]}_from_{NAMES[upstream]}": streamed(downstream, upstream)
        for downstream in STREAMS
        for upstream in STREAMS
    }
    sides |= {f"assembled_{NAMES[upstream]}": assembled(upstream) for upstream in STREAMS}
    least = dict.fromkeys(sides, float("inf"))
    for _ in range(ROUNDS):
        for name, measure in sides.items():
            least[name] = min(least[name], measure())
    json.dump(least, sys.stdout)


if __name__ == "__main__":
    main()
