"""Large bodies are decoded in pieces: with the same result as in one, and beside other work."""

import json
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.gateway import request_body
from api.gateway.request_body import UnacceptableJsonError, decode_large_object, decode_object

# Each example is decoded byte by byte, or nearly.
BOUNDED = settings(max_examples=min(settings().max_examples, 200))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def outcome(decode, body: bytes) -> object:
    """Return what a decoder makes of a body: the object, or why it refuses it."""
    try:
        return decode(body)
    except UnacceptableJsonError as error:
        return str(error)


def in_pieces(body: bytes) -> dict[str, object]:
    return decode_large_object(body, piece_bytes=4)


@BOUNDED
@given(st.dictionaries(st.text(max_size=6), VALUES), st.booleans(), st.sampled_from([None, 1]))
def test_pieces_give_the_same_object(value: object, is_ascii: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    assert outcome(in_pieces, body) == outcome(decode_object, body)


@BOUNDED
@given(st.dictionaries(st.text(max_size=6), VALUES, min_size=1), st.data())
def test_a_broken_body_is_refused_in_the_same_words(value: object, data: st.DataObject) -> None:
    body = bytearray(json.dumps(value).encode())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.sampled_from(list(b'{}[]":,\\x\x00\xff0')))
    assert outcome(in_pieces, bytes(body)) == outcome(decode_object, bytes(body))


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": {"b": 1, "b": 2}}',
        b'{"a": [{"b": 1}, {"b:": 1, "\\u0062:": 2}]}',
        b'{"a": 1, "b": ":", "\\u0061": "\\u003a"}',
        b'{"a": ["x\\u0000y"]}',
        b'{"a": ["x\\u0000y", 1, 2], "b": "\xff"}',
        b'{"a": ["x\\u0000y", 1, 2], "b": "\\ud800"}',
        b'{"a\\u0000": 1}',
        b'["not an object"]',
        b'{"a": [1, 2, NaN]}',
        b'{"a": "\\ud800"}',
        b'{"a": 1}{"b": 2}',
        b'{"a": "\xff"}',
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a": [' + b"[]," * 1_000_000 + b"[]]}",
    ],
)
def test_what_is_refused_is_refused_in_pieces(body: bytes) -> None:
    refused = outcome(decode_object, body)
    assert isinstance(refused, str)
    assert outcome(in_pieces, body) == refused


@pytest.mark.parametrize("slice_bytes", [1, 2, 3])
def test_a_pattern_across_two_slices_counts_once(
    monkeypatch: pytest.MonkeyPatch, slice_bytes: int
) -> None:
    monkeypatch.setattr(request_body, "SLICE_BYTES", slice_bytes)
    body = b'{"a": {"b": ":\\\\u0000:"}, "c": [{"d": ":"}]}'
    assert in_pieces(body) == json.loads(body)


@pytest.mark.parametrize(
    "messages",
    [[{"role": "user", "content": "x" * 9_900_000}], [{"role": "user", "content": "hi"}] * 200_000],
    ids=["one long message", "many short ones"],
)
def test_other_threads_run_meanwhile(messages: list[dict[str, str]]) -> None:
    body = json.dumps({"model": "m", "messages": messages}).encode()
    gaps, is_over = [], threading.Event()
    # The decoding thread's time on the processor, which stops while others have the machine.
    clock = time.pthread_getcpuclockid(threading.get_ident())

    def look() -> None:
        seen_at = time.clock_gettime(clock)
        while not is_over.is_set():
            time.sleep(0.0005)
            gaps.append(time.clock_gettime(clock) - seen_at)
            seen_at += gaps[-1]

    watcher = threading.Thread(target=look)
    watcher.start()
    decoded = decode_large_object(body)
    is_over.set()
    watcher.join()
    assert decoded["messages"] == messages
    assert len(gaps) > 5
    # In one call the two take 60 and 140 ms.
    assert sorted(gaps)[len(gaps) // 2] < 0.02
