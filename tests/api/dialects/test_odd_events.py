"""Streams of chat chunks as no two upstreams send them: what the client gets, and what is charged.

Each row is an input that was seen with some provider or proxy. The client gets chunks in OpenAI's
form, or an error, and never anything else.
"""

import json
from typing import Any

import pytest

from api.dialects.openai_completions import COMPLETIONS
from billing.pricing.charge import NO_CHARGE
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


def in_choice(usage: Json) -> Json:
    """Return a last chunk whose choice has the usage."""
    last = chunk({}, "stop")
    last["choices"][0]["usage"] = usage
    return last


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        # In the choice (Moonshot), in Groq's own member, and without an object for it.
        ([SKY, in_choice(count(31, 6, cached_tokens=16)), DONE], (31, 16, 6, 0)),
        ([SKY, chunk({}, "stop", x_groq={"id": "r", "usage": count(31, 6)}), DONE], (31, 0, 6, 0)),
        ([SKY, chunk({}, "stop", prompt_tokens=31, completion_tokens=6), DONE], (31, 0, 6, 0)),
        ([SKY, STOP, {"usage": count(31, 6)}, DONE], (31, 0, 6, 0)),
        # Several times, and some of them say nothing.
        ([SKY, chunk({}, "stop", usage=count(31, 6)), chunk(usage=count(0, 0))], (31, 0, 6, 0)),
        ([SKY, chunk({}, "stop", usage=count(31, 6)), chunk(usage={})], (31, 0, 6, 0)),
        ([chunk({"content": "The sky"}, usage=count(0, 0)), STOP, USED], (31, 0, 6, 0)),
        (
            [
                chunk({"role": "assistant"}, usage={"prompt_tokens": 31}),
                SKY,
                chunk({}, "stop", usage={"completion_tokens": 6}),
            ],
            (31, 0, 6, 0),
        ),
        (
            [
                SKY,
                chunk({}, "stop", usage=count(31, 6, prompt_tokens_details={"cached_tokens": 16})),
                USED,
            ],
            (31, 16, 6, 0),
        ),
        # Not an object at all.
        ([chunk({"content": "The sky"}, usage=[]), STOP, USED, DONE], (31, 0, 6, 0)),
        ([chunk({"content": "The sky"}, usage=""), STOP, USED, DONE], (31, 0, 6, 0)),
    ],
)
def test_usage_is_found_where_it_stands(
    events: list[Json | bytes], tokens: tuple[int, int, int, int]
) -> None:
    read = Reading(sent(*events, ends=False))
    assert read.error is None
    assert (read.joined("content"), read.tokens) == ("The sky", tokens)
    assert b"_tokens" not in read.passed_on


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": [{"type": "text", "text": "The"}, {"type": "text", "text": " sky"}]}, None),
        ({"content": ["The sky"]}, None),
        ({"content": {"text": "The sky"}}, None),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "blue?"}]}]},
            ("reasoning_content", "blue?"),
        ),
        ({"reasoning_content": {"text": "blue?"}}, ("reasoning_content", "blue?")),
        ({"reasoning": ["blue", "?"]}, ("reasoning_content", "blue?")),
        ({"refusal": ["no"]}, ("refusal", "no")),
        ({"content": []}, ("content", "")),
        ({"content": 7}, ("content", "7")),
        ({"role": 1, "content": None, "audio": [], "images": {}, "tool_calls": 0}, ("content", "")),
    ],
)
def test_what_is_no_text_becomes_one(delta: Json, expected: tuple[str, str] | None) -> None:
    read = Reading(sent(BEGIN, chunk(delta)))
    name, text = expected or ("content", "The sky")
    assert read.error is None
    assert (read.joined(name), read.finish, read.tokens) == (text, ["stop"], (31, 0, 6, 0))


def calls(*pieces: Json, **more: Any) -> Json:
    return chunk({"tool_calls": list(pieces), **more})


@pytest.mark.parametrize(
    "call",
    [
        {"index": 0, "id": "c1", "function": {"name": "look", "arguments": {"at": 1}}},
        {"id": "c1", "type": "", "function": {"name": "look", "arguments": '{"at":1}'}},
        {
            "index": 0,
            "id": 12,
            "type": "tool",
            "function": {"name": "look", "arguments": {"at": 1}},
        },
    ],
)
def test_a_call_gets_its_arguments_as_text(call: Json) -> None:
    read = Reading(sent(BEGIN, calls(call)))
    (got,) = [each for choice in read.choices for each in choice["delta"].get("tool_calls", ())]
    assert got["function"] == {"name": "look", "arguments": '{"at":1}'}
    assert (got["index"], got.get("type", "function")) == (0, "function")
    assert isinstance(got["id"], str)


@pytest.mark.parametrize("empty", ["", False, {}, [], None, 0])
def test_an_error_that_says_nothing_is_none(empty: object) -> None:
    read = Reading(sent(chunk({"content": "The sky"}, error=empty)))
    assert (read.error, read.joined("content"), read.finish) == (None, "The sky", ["stop"])


@pytest.mark.parametrize("none", ["", "null", "None", None])
@pytest.mark.parametrize(
    ("field", "is_tagged", "deltas"),
    [
        ("reasoning_content", False, [{"content": "The"}, {"content": " sky"}]),
        (None, False, [{"reasoning": "hid"}, {"reasoning_content": "den"}, {"content": "The sky"}]),
        ("reasoning", True, [{"content": "<thi"}, {"content": "nk>hid</think>The"},
                             {"content": " sky"}]),
    ],
)  # fmt: skip
def test_a_finish_reason_that_is_none_ends_nothing(
    none: str | None, field: Any, is_tagged: bool, deltas: list[Json]
) -> None:
    chunks = [chunk(delta, none) for delta in deltas]
    read = Reading(sent(*chunks), field=field, is_tagged=is_tagged)
    assert (read.error, read.joined("content"), read.finish) == (None, "The sky", ["stop"])


def test_an_empty_reason_after_the_last_does_not_undo_it() -> None:
    late = chunk({"content": ""}, "", usage=count(31, 6))
    read = Reading(sent(SKY, STOP, late, ends=False))
    assert (read.error, read.finish, read.tokens) == (None, ["stop"], (31, 0, 6, 0))
    assert read.reader.finish_reason == "stop"


def test_a_stream_that_breaks_off_between_empty_reasons_has_no_end() -> None:
    read = Reading(sent(chunk({"content": "The"}, ""), ends=False))
    assert read.error is not None
    assert read.error.kind == "incomplete"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("STOP", "stop"), ("end_turn", "stop"), ("MAX_TOKENS", "length"), ("sensitive", "sensitive")],
)
def test_reasons_have_openais_names_where_there_is_one(theirs: str, ours: str) -> None:
    read = Reading(sent(SKY, chunk({}, theirs), chunk({}, theirs), USED, DONE, ends=False))
    assert (read.error, read.finish) == (None, [ours, ours])


FAILED_CHOICE = {"index": 0, "delta": {}, "finish_reason": "error", "error": {"code": 529}}


@pytest.mark.parametrize("before", [[], [BEGIN, SKY]])
@pytest.mark.parametrize(
    "event",
    [
        {"object": "error", "message": "no memory left", "type": "server", "code": 500},
        {"error": {"message": "no memory left"}},
        {"error": "no memory left"},
        {**chunk({"content": "x"}), "error": {"message": "no memory left"}},
        {"code": 1013, "msg": "no memory left"},
        {"success": False, "msg": "no memory left"},
        {"detail": "no memory left"},
        [{"error": {"message": "no memory left"}}],
        {"type": "error", "message": "no memory left"},
        {**HEAD, "choices": [FAILED_CHOICE]},
        {**HEAD, "choices": [{**FAILED_CHOICE, "error": None}]},
        b'event: error\ndata: {"message": "no memory left", "code": "503"}\n\n',
        b"event: error\ndata: no memory left\n\n",
    ],
)
def test_an_error_is_one_in_every_form(before: list[Json], event: Any) -> None:
    if isinstance(event, list):
        event = b"data: " + json.dumps(event).encode() + b"\n\n"
    read = Reading(sent(*before, event, DONE, ends=False))
    assert read.error is not None
    assert read.joined("content") == ("The sky" if before else "")
    assert b"memory" not in read.passed_on


@pytest.mark.parametrize("data", [b"", DONE, b": hello\n\n", sent(USED, DONE, ends=False)])
def test_a_stream_without_an_answer_is_an_error(data: bytes) -> None:
    assert Reading(data).error is not None


@pytest.mark.parametrize(
    "noise",
    [
        b'event: ping\ndata: {"type": "ping"}\n\n',
        b'event: keepalive\ndata: {"object": "keepalive"}\n\n',
        b"data: {}\n\n",
        b"data: : still working\n\n",
        b"data: ping\n\n",
        b"data: \n\n",
        b"data:\n\n",
        b"data\n\n",
        b": still working\n\n",
        b"retry: 2000\n\n",
        b"id: 4\nevent: message\n\n",
        json.dumps({**HEAD, "choices": None}).encode().join([b"data: ", b"\n\n"]),
    ],
)
def test_what_is_no_chunk_never_reaches_the_client(noise: bytes) -> None:
    plain = Reading(sent(BEGIN, SKY))
    noisy = Reading(noise + sent(BEGIN, noise, SKY, noise, STOP, USED, noise, DONE, ends=False))
    assert noisy.error is None
    assert (noisy.chunks, noisy.tokens) == (plain.chunks, (31, 0, 6, 0))
    assert noisy.reader.events == plain.reader.events


def test_the_usage_event_is_made_of_a_chunk_even_if_a_ping_came_last() -> None:
    read = Reading(sent(SKY, STOP, USED, b'data: {"type": "ping"}\n\n', DONE, ends=False))
    assert read.metered.usage is not None
    ending = read.reader.ending(read.metered.usage, NO_CHARGE, is_shown=True)
    event = json.loads(ending.split(b"\n\n")[0][6:])
    assert {name: event[name] for name in HEAD} == HEAD
    assert (event["choices"], event["usage"]["completion_tokens"]) == ([], 6)


@pytest.mark.parametrize(
    "delta",
    [
        {"audio": {"id": "a", "data": "A" * 40_000}},
        {"audio": {"transcript": "The sky is blue, most of the time."}},
        {"tool_calls": [{"index": 0, "id": "t", "type": "custom",
                         "custom": {"name": "query", "input": "select colour from sky"}}]},
        {"images": [{"image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"refusal": "I can't say that."},
        {"function_call": {"name": "look", "arguments": '{"at": "sky"}'}},
    ],
)  # fmt: skip
def test_output_of_every_kind_is_estimated_where_no_usage_comes(delta: Json) -> None:
    read = Reading(sent(BEGIN, chunk(delta), STOP, DONE, ends=False))
    assert read.error is None
    assert not read.metered.is_empty
    assert 1 <= read.reader.text_bytes // 4 <= 2_000
    got = {name: value for choice in read.choices for name, value in choice["delta"].items()}
    assert got.items() >= delta.items()


@pytest.mark.parametrize(
    "changes",
    [
        {"id": None},
        {"object": "chat.completion"},
        {"created": 1_790_000_000.5},
        {"created": "now"},
        {"model": None},
        {"choices": [{"delta": {"content": "The sky"}}]},
        {"choices": [{"index": 0, "message": {"content": "The sky"}, "finish_reason": None}]},
        {"choices": [{"index": 0, "text": "The sky", "finish_reason": None}]},
        {"choices": [{"index": None, "delta": {"content": "The sky"}, "finish_reason": None}, 5]},
    ],
)
def test_a_chunk_gets_the_members_that_clients_need(changes: Json) -> None:
    read = Reading(sent(BEGIN, {**SKY, **changes}))
    assert (read.error, read.joined("content"), read.finish) == (None, "The sky", ["stop"])


def test_legacy_completions_are_repaired_alike() -> None:
    head = {**HEAD, "object": "text_completion"}
    parts = [
        {**head, "choices": [{"index": 0, "text": ["The"], "finish_reason": ""}]},
        {**HEAD, "choices": [{"index": 0, "delta": {"content": " sky"}, "finish_reason": None}]},
        {"type": "ping"},
        {**head, "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
        {**head, "choices": [], "usage": count(31, 6)},
    ]
    read = Reading(sent(*parts, DONE, ends=False), dialect=COMPLETIONS)
    assert read.error is None
    assert "".join(choice["text"] for choice in read.choices) == "The sky"
    assert (read.finish, read.tokens) == (["stop"], (31, 0, 6, 0))
