"""Streams whose framing or JSON is odd, and whole completions that come in their place."""

import json
from typing import Any

import pytest

from tests.api.dialects.reading import (
    BEGIN,
    DONE,
    HEAD,
    SKY,
    STOP,
    USED,
    Json,
    Reading,
    chunk,
    count,
    sent,
)


def pretty(each: Json, line_end: bytes = b"\n") -> bytes:
    lines = json.dumps(each, indent=2).encode().split(b"\n")
    return b"".join(b"data: " + line + line_end for line in lines) + line_end


TWO_LINES = json.dumps(SKY).encode().replace(b', "choices"', b',\ndata: "choices"')


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize(
    "data",
    [
        b"".join(map(pretty, (BEGIN, SKY, STOP, USED))) + DONE,
        b"".join(pretty(each, b"\r\n") for each in (BEGIN, SKY, STOP, USED)) + DONE,
        b"data: " + TWO_LINES + b"\n\n" + sent(),
        b"\xef\xbb\xbf" + sent(BEGIN, SKY),
        b"\n\n\xef\xbb\xbf"[2:] + b"\n\n" + sent(BEGIN, SKY),
        sent(SKY, STOP, USED, b"data: [DONE] \n\n", ends=False),
        sent(SKY, STOP, USED, b"data:[DONE]\n\n", ends=False),
        sent(SKY, STOP, USED, b"event: done\ndata: [DONE]\n\n", ends=False),
        sent(SKY, STOP, USED, b"data: [DONE]", ends=False),
        sent(SKY, STOP, USED, ends=False),
        sent(BEGIN, SKY).replace(b"data: ", b"data:"),
        sent(BEGIN, SKY).replace(b"\n", b"\r\n"),
        sent(BEGIN, SKY).replace(b"\n", b"\r"),
        sent(BEGIN, SKY).replace(b"\n\n", b"\n\n\n"),
        sent(BEGIN, SKY).replace(b"data: {", b"id: 3\nevent: message\ndata: {"),
    ],
)
def test_events_are_framed_in_every_way_that_the_standard_has(data: bytes, size: int) -> None:
    read = Reading(data, size=size)
    assert (read.error, read.joined("content")) == (None, "The sky")
    assert (read.finish, read.tokens) == (["stop"], (31, 0, 6, 0))


def raw(content: bytes, **fields: Any) -> bytes:
    """Return an event whose content is JSON text that no encoder of ours would write."""
    text = json.dumps(chunk({"content": "PLACE"}, **fields)).encode()
    return b"data: " + text.replace(b'"PLACE"', content) + b"\n\n"


def test_halves_of_a_surrogate_pair_are_put_together() -> None:
    read = Reading(sent(raw(b'"fox \\ud83e"'), raw(b'"\\udd8a!"')))
    assert (read.error, read.joined("content")) == (None, "fox \U0001f98a!")


@pytest.mark.parametrize("half", [b'"\\udd8a!"', b'"\\udd8a"', b'"!\\udd8ax"'])
def test_half_a_pair_without_the_other_is_replaced(half: bytes) -> None:
    read = Reading(sent(raw(half)))
    assert read.error is None
    assert "\ufffd" in read.joined("content")


@pytest.mark.parametrize("figure", ["-Infinity", "Infinity", "NaN"])
def test_figures_that_json_does_not_have_are_finite(figure: str) -> None:
    data = sent(SKY).replace(b'"finish_reason"', b'"logprobs":{"content":[{"logprob":%s}]},'
                             b'"finish_reason"' % figure.encode(), 1)  # fmt: skip
    read = Reading(data)
    assert (read.error, read.joined("content")) == (None, "The sky")
    (entry,) = read.choices[0]["logprobs"]["content"]
    assert entry["logprob"] in {-9999, 9999, None}


@pytest.mark.parametrize(
    "data", [b"data: {broken\n\n", b"data: nonsense\n\n", b"data: {\xff}\n\n", b"data: 7\n\n"]
)
def test_what_can_not_be_read_is_an_error(data: bytes) -> None:
    read = Reading(sent(SKY, data))
    assert read.error is not None
    assert read.joined("content") == "The sky"


def test_a_large_event_passes_up_to_the_bound() -> None:
    picture = {"image_url": {"url": "data:image/png;base64," + "A" * 5_000_000}}
    data = sent(BEGIN, chunk({"content": "", "images": [picture]}))
    read = Reading(data, size=65_536, max_event_bytes=8_000_000)
    assert read.error is None
    assert read.choices[1]["delta"]["images"] == [picture]
    assert Reading(data, size=65_536, max_event_bytes=4_000_000).error is not None


WHOLE = {
    **HEAD,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "The sky",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            "finish_reason": "tool_calls",
        }
    ],
    "usage": count(31, 6),
}


@pytest.mark.parametrize("size", [0, 1, 100])
@pytest.mark.parametrize("before", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_whole_completion_becomes_a_stream(before: bytes, size: int) -> None:
    read = Reading(before + json.dumps(WHOLE).encode(), size=size)
    assert (read.error, read.joined("content"), read.finish) == (None, "The sky", ["tool_calls"])
    assert read.tokens == (31, 0, 6, 0)
    (call,) = read.choices[0]["delta"]["tool_calls"]
    assert (call["index"], call["id"], read.reader.is_done) == (0, "c1", True)


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Just a moment</title>",
        b'{"error": {"message": "no"}}',
        b'{"object": "error", "message": "no"}',
        json.dumps({**WHOLE, "choices": []}).encode(),
        b'{"choices": [',
        b"{" + b" " * 2_000,
    ],
)
def test_what_is_neither_a_stream_nor_a_completion_is_an_error(body: bytes) -> None:
    read = Reading(body, size=100, max_event_bytes=1_000)
    assert read.error is not None
    assert read.passed_on == b""
