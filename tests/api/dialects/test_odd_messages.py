"""Odd answers of upstreams that speak Messages: brought into the dialect, dropped, or an error."""

import json
from typing import Any

import pytest

from api.dialects import DIALECTS
from api.dialects.base import AnswerContext, DialectError
from billing.pricing.charge import NO_CHARGE, Usage
from tests.api.dialects.limits import Limits

Json = dict[str, Any]

ASKED = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
START = {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 3}}}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
HELLO = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
STOP = {"type": "content_block_stop", "index": 0}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 2},
}
LAST = {"type": "message_stop"}
SEVERAL_LINES = (
    b'data: {"type": "content_block_delta", "index": 0,\n'
    b'data: "delta": {"type": "text_delta", "text": "Hi"}}\n\n'
)
NAMED = (
    b'event: content_block_delta\ndata: {"index": 0, "delta": {"type": "text_delta", "text": "Hi"}}'
    b"\n\n"
)


def context(**asked: Any) -> AnswerContext:
    request = DIALECTS["anthropic_messages"].parse({**ASKED, **asked}, 100)
    return AnswerContext(request, "m", "reasoning", answer_id="a1")


def data(event: Json | bytes) -> bytes:
    if isinstance(event, bytes):
        return event
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def streamed(*events: Json | bytes) -> list[Json]:
    """Return the events that a client gets, which must be a whole stream of a message."""
    reader = DIALECTS["anthropic_messages"].stream_reader(context(stream=True))
    out = b""
    for event in events:
        out += reader.feed(data(event))
        if reader.error is not None:
            raise reader.error
    out += reader.finish()
    out += reader.ending(reader.meter(Limits()).usage or Usage(), NO_CHARGE, is_shown=False)
    got = [json.loads(line[6:]) for line in out.decode().split("\n") if line.startswith("data: ")]
    assert [event["type"] for event in got][-2:] == ["message_delta", "message_stop"]
    return got


def text_of(events: list[Json]) -> str:
    """Return the text of a stream whose blocks begin and end as the dialect says."""
    text, is_open = "", False
    for event in events:
        if event["type"] == "content_block_start":
            assert not is_open
            assert isinstance(event["index"], int)
            is_open = True
        elif event["type"] == "content_block_delta":
            assert is_open
            text += event["delta"].get("text", "")
        elif event["type"] == "content_block_stop":
            is_open = False
    return text


def without(event: Json, name: str) -> Json:
    return {key: value for key, value in event.items() if key != name}


@pytest.mark.parametrize(
    "events",
    [
        (b"\xef\xbb\xbf" + data(START), TEXT, HELLO, STOP, END, LAST),
        (START, without(TEXT, "index"), without(HELLO, "index"), without(STOP, "index"), END, LAST),
        (START, HELLO, STOP, END, LAST),
        (TEXT, HELLO, STOP, END, LAST),
        (HELLO, STOP, END, LAST),
        (b": a comment\n\n", {"type": "ping"}, TEXT, START, HELLO, STOP, END, LAST),
        (START, {**TEXT, "content_block": {"type": "text"}}, HELLO, STOP, END, LAST),
        (START, {**TEXT, "content_block": {"type": "text", "text": None}}, HELLO, STOP, END, LAST),
        (START, {**TEXT, "content_block": None}, HELLO, STOP, END, LAST),
        (START, TEXT, {**HELLO, "delta": {"text": "Hi"}}, STOP, END, LAST),
        (START, TEXT, {**HELLO, "delta": "Hi"}, STOP, END, LAST),
        (START, TEXT, {**HELLO, "delta": {"type": "text_delta", "text": None}}, HELLO, STOP, END),
        (START, TEXT, HELLO, STOP, STOP, END, LAST),
        (START, b"data: keepalive\n\n", TEXT, HELLO, STOP, END, LAST),
        (START, TEXT, HELLO, STOP, END, b"data: [DONE]\n\n"),
        (START, TEXT, HELLO, STOP, {**END, "delta": None}, LAST),
        (START, TEXT, SEVERAL_LINES, STOP, END, LAST),
        (START, TEXT, NAMED, STOP, END, LAST),
    ],
    ids=[
        "a byte order mark",
        "no indexes",
        "no start of the block",
        "no start of the message",
        "no start of the message and of the block",
        "a late start of the message",
        "a start without its text",
        "a start with null for its text",
        "a start without its block",
        "a delta without its type",
        "a text for a delta",
        "a delta of nothing",
        "a block that ends twice",
        "a word that keeps alive",
        "OpenAI's end",
        "null for why it ended",
        "several data lines",
        "the type in the event's name only",
    ],
)  # fmt: skip
def test_odd_events_make_the_stream_that_was_meant(events: tuple[Any, ...]) -> None:
    got = [event for event in streamed(*events) if event["type"] != "ping"]
    assert [event["type"] for event in got].count("message_start") == 1
    assert got[0]["message"]["id"]
    assert text_of(got) == "Hi"
    assert got[-2]["delta"]["stop_reason"] == "end_turn"


def test_a_message_without_its_start_has_the_usage_of_its_end_or_of_a_late_start() -> None:
    late = {**START, "message": {"usage": {"input_tokens": 7}}}
    for events, expected in (((TEXT, HELLO, STOP), 5), ((TEXT, late, HELLO, STOP), 7)):
        reader = DIALECTS["anthropic_messages"].stream_reader(context(stream=True))
        usage = {"output_tokens": 2, **({} if late in events else {"input_tokens": 5})}
        for event in (*events, {**END, "usage": usage}, LAST):
            reader.feed(data(event))
        assert reader.error is None
        reader.finish()
        metered = reader.meter(Limits())
        assert metered.usage is not None
        assert (metered.usage.input_tokens, metered.usage.output_tokens) == (expected, 2)


def test_an_empty_message_without_its_start_is_one() -> None:
    got = streamed(END, LAST)
    assert [event["type"] for event in got] == ["message_start", "message_delta", "message_stop"]
    assert got[0]["message"]["model"] == "m"


@pytest.mark.parametrize(
    "events",
    [(LAST,), (START, START, TEXT, HELLO, STOP, END, LAST), (TEXT, START, START, END, LAST)],
)
def test_no_message_and_two_starts_are_errors(events: tuple[Json, ...]) -> None:
    with pytest.raises(DialectError):
        streamed(*events)


@pytest.mark.parametrize("reason", ["", "null", 5])
def test_why_it_ended_is_never_an_empty_word(reason: object) -> None:
    end = {**END, "delta": {"stop_reason": reason}}
    assert streamed(START, TEXT, HELLO, STOP, end, LAST)[-2]["delta"]["stop_reason"] == "end_turn"


@pytest.mark.parametrize("given", [None, "", '{"city": "Rome"}', {"city": "Rome"}])
def test_a_call_may_bring_its_arguments_in_any_form(given: object) -> None:
    block = {"type": "tool_use", "id": "t1", "name": "look", "input": given}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    delta = {"type": "input_json_delta", "partial_json": {"city": "Oslo"}}
    events = streamed(START, start, {**HELLO, "delta": delta}, STOP, END, LAST)
    (began,) = [event for event in events if event["type"] == "content_block_start"]
    assert began["content_block"]["input"] == ({"city": "Rome"} if given else {})
    (came,) = [event for event in events if event["type"] == "content_block_delta"]
    assert json.loads(came["delta"]["partial_json"]) == {"city": "Oslo"}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "later"}},
        {"error": {"message": "later"}},
        {"type": "content_block_delta", "error": "later"},
        b"data: [1, 2]\n\n",
        b"data: {\n\n",
    ],
)
def test_an_error_in_whatever_form_is_an_error(event: Json | bytes) -> None:
    with pytest.raises(DialectError):
        streamed(START, TEXT, event, STOP, END, LAST)


THINKING = {"type": "thinking", "thinking": "hm", "signature": "s"}
CITATION = {"type": "char_location", "cited_text": "x"}


@pytest.mark.parametrize("piece", [7, 100_000])
def test_a_whole_message_in_place_of_a_stream_is_streamed(piece: int) -> None:
    content = [
        THINKING,
        {"type": "text", "text": "Hi", "citations": [CITATION]},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}},
        {"type": "redacted_thinking", "data": "d"},
    ]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": content}
    ends = {"stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 2}}
    body = json.dumps({**message, **ends}, indent=1).encode()
    got = streamed(*[body[at : at + piece] for at in range(0, len(body), piece)])
    assert text_of(got) == "Hi"
    assert got[0]["message"]["model"] == "m"
    starts = [each["content_block"] for each in got if each["type"] == "content_block_start"]
    assert starts == [
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "text", "text": ""},
        {**content[2], "input": {}},
        content[3],
    ]
    deltas = [each["delta"] for each in got if each["type"] == "content_block_delta"]
    assert deltas == [
        {"type": "thinking_delta", "thinking": "hm"},
        {"type": "signature_delta", "signature": "s"},
        {"type": "text_delta", "text": "Hi"},
        {"type": "citations_delta", "citation": CITATION},
        {"type": "input_json_delta", "partial_json": '{"a":1}'},
    ]
    end = got[-2]
    assert end["delta"]["stop_reason"] == "tool_use"
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (3, 2)


@pytest.mark.parametrize(
    "body", [b'{"error": {"message": "no"}}', b"<html>down</html>", b"{", b"[]", b'{"a": 1}']
)
def test_what_is_no_stream_is_an_error(body: bytes) -> None:
    with pytest.raises(DialectError):
        streamed(body)


def whole(**fields: Any) -> Json:
    """Return what a client gets for a whole message with other members."""
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
        **fields,
    }
    answer = DIALECTS["anthropic_messages"].read_answer(json.dumps(body).encode(), context())
    shown: Json = json.loads(answer.body(answer.meter(Limits()).usage or Usage()))
    return shown


HI = [{"type": "text", "text": "Hi"}]
CALL = {"type": "tool_use", "id": "t1", "name": "look"}


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ({"content": "Hi"}, {"content": HI}),
        ({"content": [{"text": "Hi"}]}, {"content": HI}),
        ({"content": None}, {"content": []}),
        ({"stop_reason": None}, {"stop_reason": "end_turn"}),
        ({"stop_reason": ""}, {"stop_reason": "end_turn"}),
        ({"stop_reason": None, "content": [{**CALL, "input": {}}]}, {"stop_reason": "tool_use"}),
        ({"content": [{**CALL}]}, {"content": [{**CALL, "input": {}}]}),
        ({"content": [{**CALL, "input": '{"a": 1}'}]}, {"content": [{**CALL, "input": {"a": 1}}]}),
        ({"content": [{"type": "text", "text": "Hi"}, None]}, {"content": HI}),
        ({"content": [{"type": "text"}]}, {"content": [{"type": "text", "text": ""}]}),
        ({"type": None}, {"type": "message"}),
        ({"model": 5, "stop_sequence": 5}, {"model": "m", "stop_sequence": None}),
    ],
)
def test_an_odd_message_is_the_one_that_was_meant(odd: Json, expected: Json) -> None:
    shown = whole(**odd)
    assert {name: shown[name] for name in expected} == expected
    assert (shown["usage"]["input_tokens"], shown["usage"]["output_tokens"]) == (3, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "error", "error": {"type": "api_error", "message": "no"}},
        {"error": "no"},
        {"content": None, "stop_reason": None},
        {"content": 5, "stop_reason": ""},
    ],
)
def test_what_is_no_message_is_an_error(fields: Json) -> None:
    with pytest.raises(DialectError):
        whole(**fields)


@pytest.mark.parametrize("figure", [-5, "3", 3.5, 10**9, None, {}])
def test_a_figure_that_cannot_be_is_not_charged(figure: object) -> None:
    shown = whole(usage={"input_tokens": figure, "output_tokens": 2})
    assert type(shown["usage"]["input_tokens"]) is int
    assert 0 <= shown["usage"]["input_tokens"] < 10**6
    assert shown["usage"]["output_tokens"] == 2
