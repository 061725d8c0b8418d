"""Odd answers of upstreams that speak Responses: brought into the dialect, dropped, or an error."""

import json
from typing import Any

import pytest

from api.dialects import DIALECTS
from api.dialects.base import DialectError
from billing.pricing.charge import Usage
from tests.api.dialects.limits import Limits
from tests.api.dialects.responses_events import (
    ADDED,
    BARE_END,
    BARE_PART,
    CALL,
    CALL_ADDED,
    CALL_DONE,
    CREATED,
    DELTA,
    DONE,
    END,
    MESSAGE,
    NAMED,
    NO_PLACE,
    PART,
    PART_ADDED,
    PART_DONE,
    SEVERAL_LINES,
    USED,
    WHOLE,
    Json,
    context,
    data,
    done_items,
    event,
    streamed,
    text_of,
    without,
)


@pytest.mark.parametrize(
    "events",
    [
        WHOLE,
        (b"\xef\xbb\xbf" + data(CREATED), *WHOLE[1:]),
        tuple({**each, "sequence_number": 0} for each in WHOLE),
        tuple({**each, "sequence_number": "7"} for each in WHOLE),
        tuple(without(each, *NO_PLACE) for each in WHOLE),
        (CREATED, {**ADDED, "item": without(ADDED["item"], "id")}, DELTA, DONE, END),
        (CREATED, {**ADDED, "item": {"type": "message"}}, DELTA, DONE, END),
        (CREATED, ADDED, DELTA, DONE, END),
        (CREATED, DELTA, DONE, END),
        (CREATED, DELTA, END),
        (DELTA, BARE_END),
        (CREATED, DONE, END),
        (CREATED, END),
        (CREATED, ADDED, {**DELTA, "delta": {"text": "Hi"}}, DONE, END),
        (CREATED, ADDED, {**DELTA, "delta": None}, DELTA, DONE, END),
        (CREATED, ADDED, ADDED, DELTA, DONE, DONE, END),
        (CREATED, ADDED, PART_ADDED, SEVERAL_LINES, DONE, END),
        (CREATED, ADDED, PART_ADDED, NAMED, DONE, END),
        (CREATED, b"data: keepalive\n\n", {"type": "keepalive"}, *WHOLE[1:]),
        (*WHOLE[:-1], b"data: [DONE] \n\n"),
        WHOLE[:-1],
        (CREATED, ADDED, DELTA, b"data: [DONE]\n\n"),
        (*WHOLE[:-1], {**END, "type": "response.done"}),
        (*WHOLE[:-1], {"type": "response.completed"}),
        (*WHOLE[:-1], {**END, "response": {**END["response"], "status": ""}}),
        (*WHOLE[:-1], {**END, "response": {**END["response"], "status": "in_progress"}}),
        (*WHOLE[:-1], {**END, "response": {**END["response"], "error": {}}}),
        (CREATED, {**DONE, "item": {**MESSAGE, "content": "Hi"}}, BARE_END),
        (CREATED, {**DONE, "item": {"content": [{"type": "text", "text": "Hi"}]}}, BARE_END),
    ],
    ids=[
        "as it should be",
        "a byte order mark",
        "all of one number",
        "texts for numbers",
        "no places",
        "no id of the item",
        "nothing of the item but its kind",
        "no start of the part",
        "no start of the item",
        "neither start nor end of the item",
        "nothing but a delta",
        "nothing but the end of the item",
        "nothing but the last event",
        "an object for a delta",
        "a delta of nothing",
        "all of the item twice",
        "several data lines",
        "the type in the event's name only",
        "keep-alives",
        "OpenAI's other end",
        "no last event",
        "neither end of the item nor last event",
        "another name of the last event",
        "a last event without its response",
        "an empty status",
        "a status of before",
        "an empty error",
        "a text for the content",
        "an item that says nothing of itself",
    ],
)  # fmt: skip
def test_odd_events_make_the_stream_that_was_meant(events: tuple[Any, ...]) -> None:
    got = streamed(*events)
    assert text_of(got) == "Hi"
    (item,) = done_items(got)
    assert [part["text"] for part in item["content"]] == ["Hi"]
    last = got[-1]["response"]
    assert (got[-1]["type"], last["status"]) == ("response.completed", "completed")
    assert [part["text"] for part in last["output"][0]["content"]] == ["Hi"]


def test_items_that_all_have_one_place_are_told_apart() -> None:
    thought = {"id": "rs_1", "type": "reasoning", "summary": []}
    got = streamed(
        CREATED,
        event("output_item.added", output_index=0, item=thought),
        event("output_item.done", output_index=0, item=thought),
        *WHOLE[1:-1],
        {**END, "response": {**END["response"], "output": []}},
    )
    assert [item["type"] for item in done_items(got)] == ["reasoning", "message"]
    assert [item["type"] for item in got[-1]["response"]["output"]] == ["reasoning", "message"]
    assert text_of(got) == "Hi"


@pytest.mark.parametrize(
    "events",
    [
        (CREATED, {**CALL_DONE, "item": {**CALL, "arguments": {"a": 1}}}, BARE_END),
        (CREATED, {**CALL_DONE, "item": without(CALL, "id", "status")}, BARE_END),
        (CREATED, {**CALL_DONE, "item": without(CALL, "type")}, BARE_END),
        (CREATED, {**CALL_ADDED, "item": {**CALL, "arguments": None}}, CALL_DONE, BARE_END),
        (
            CREATED,
            CALL_ADDED,
            event("function_call_arguments.delta", delta='{"a":'),
            event("function_call_arguments.delta", delta="1}"),
            BARE_END,
        ),
        (
            CREATED,
            event("function_call_arguments.delta", output_index=0, item_id="fc_1", delta='{"a":1}'),
            CALL_DONE,
            BARE_END,
        ),
    ],
)
def test_a_call_comes_whole_in_any_form(events: tuple[Json, ...]) -> None:
    got = streamed(*events)
    (call,) = done_items(got)
    assert (call["name"], json.loads(call["arguments"])) == ("look", {"a": 1})
    assert call["call_id"]
    assert [item["call_id"] for item in got[-1]["response"]["output"]] == [call["call_id"]]


def test_a_call_that_was_cut_never_ends() -> None:
    delta = event("function_call_arguments.delta", output_index=0, item_id="fc_1", delta='{"a":')
    cut = {**BARE_END["response"], "incomplete_details": {"reason": "max_output_tokens"}}
    assert done_items(streamed(CREATED, CALL_ADDED, delta, BARE_END)) == []
    got = streamed(CREATED, CALL_ADDED, delta, {**BARE_END, "response": cut})
    assert done_items(got) == []
    assert got[-1]["type"] == "response.incomplete"


@pytest.mark.parametrize(
    "events",
    [
        (CREATED,),
        (CREATED, ADDED, DELTA),
        (CREATED, ADDED, PART_ADDED, DELTA, PART_DONE),
        (CREATED, *WHOLE[1:-1], {**CALL_ADDED, "output_index": 1}),
        (CREATED, b"data: [DONE]\n\n"),
    ],
)
def test_a_stream_that_breaks_off_has_no_end(events: tuple[Json, ...]) -> None:
    with pytest.raises(DialectError, match="ended without"):
        streamed(*events)


@pytest.mark.parametrize(
    "odd",
    [
        event("failed", response={"error": {"code": "server_error", "message": "later"}}),
        {"type": "error", "code": "x", "message": "later"},
        {"error": {"message": "later"}},
        {**DELTA, "error": "later"},
        {"object": "error", "message": "later"},
        {"code": 1302, "msg": "later"},
        {"detail": "later"},
        b'event: error\ndata: {"message": "later"}\n\n',
        event("completed", response={"status": "failed", "error": {"message": "later"}}),
        event("completed", response={"status": "completed", "error": {"message": "later"}}),
    ],
)
def test_an_error_in_whatever_form_is_an_error(odd: Json | bytes) -> None:
    with pytest.raises(DialectError) as raised:
        streamed(CREATED, ADDED, odd, END)
    assert raised.value.kind == "error_event"
    assert raised.value.report is not None
    assert raised.value.report.message == "later"


@pytest.mark.parametrize("odd", [b"data: [1, 2]\n\n", b"data: {\n\n", b"data: 5\n\n"])
def test_what_is_no_event_is_an_error(odd: bytes) -> None:
    with pytest.raises(DialectError):
        streamed(CREATED, ADDED, odd, END)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (USED, (3, 2)),
        ({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}, (3, 2)),
        ({**USED, "input_tokens_details": [], "output_tokens_details": None}, (3, 2)),
        ({**USED, "input_tokens": -3, "total_tokens": None}, (Limits().likely_input, 2)),
        ("much", (0, 0)),
        (None, (0, 0)),
    ],
)
def test_odd_usage_is_charged_as_far_as_it_can_be_true(
    usage: object, expected: tuple[int, int]
) -> None:
    got = streamed(*WHOLE[:-1], {**END, "response": {**END["response"], "usage": usage}})
    shown = got[-1]["response"]["usage"]
    assert (shown["input_tokens"], shown["output_tokens"]) == expected
    assert shown["total_tokens"] == sum(expected)


def test_usage_beside_the_response_counts() -> None:
    response = without(END["response"], "usage")
    got = streamed(*WHOLE[:-1], {"type": "response.done", "response": response, "usage": USED})
    assert got[-1]["response"]["usage"]["total_tokens"] == 5


def whole(**fields: Any) -> Json:
    """Return what a client gets for a whole response with other members."""
    body = {**END["response"], "created_at": 5, **fields}
    answer = DIALECTS["openai_responses"].read_answer(json.dumps(body).encode(), context())
    shown: Json = json.loads(answer.body(answer.meter(Limits()).usage or Usage()))
    return shown


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ({"status": ""}, {"status": "completed"}),
        ({"status": None}, {"status": "completed"}),
        ({"status": "COMPLETED"}, {"status": "completed"}),
        ({"status": "done"}, {"status": "completed"}),
        (
            {"status": None, "incomplete_details": {"reason": "max_output_tokens"}},
            {"status": "incomplete"},
        ),
        ({"object": None}, {"object": "response"}),
        ({"error": ""}, {"output": [MESSAGE]}),
        ({"output": MESSAGE}, {"output": [MESSAGE]}),
        ({"output": [{**MESSAGE, "content": "Hi"}, None]}, {"output": [MESSAGE]}),
        ({"output": [without(MESSAGE, "type", "role", "status")]}, {"output": [MESSAGE]}),
        ({"output": [{**MESSAGE, "content": [BARE_PART]}]}, {"output": [MESSAGE]}),
        ({"output": [{**CALL, "arguments": {"a": 1}}]}, {"output": [CALL]}),
        ({"output": [{**CALL, "arguments": None}]}, {"output": [{**CALL, "arguments": "{}"}]}),
        ({"model": 5}, {"model": "m"}),
    ],
)  # fmt: skip
def test_an_odd_response_is_the_one_that_was_meant(odd: Json, expected: Json) -> None:
    shown = whole(**odd)
    assert {name: shown[name] for name in expected} == expected
    assert (shown["usage"]["input_tokens"], shown["usage"]["output_tokens"]) == (3, 2)


def test_a_text_alone_is_a_response() -> None:
    shown = whole(output=None, output_text="Hi", id=None)
    assert (shown["id"], shown["store"]) == ("resp_a1", False)
    assert shown["output"][0]["content"] == [PART]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "failed", "error": {"message": "no"}},
        {"error": {"message": "no"}},
        {"error": "no"},
        {"status": "cancelled"},
        {"status": "queued", "output": []},
        {"status": None, "output": None},
        {"output": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]},
    ],
)
def test_what_is_no_response_is_an_error(fields: Json) -> None:
    with pytest.raises(DialectError):
        whole(**fields)


SUMMARY = {"type": "summary_text", "text": "hm"}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [SUMMARY]}
REFUSED = {**MESSAGE, "id": "msg_2", "content": [{"type": "refusal", "refusal": "No."}]}
PATCH = {**without(CALL, "arguments"), "id": "ct_1", "type": "custom_tool_call", "input": "x"}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed"}


@pytest.mark.parametrize("piece", [7, 100_000])
def test_a_whole_response_in_place_of_a_stream_is_streamed(piece: int) -> None:
    output = [THOUGHT, MESSAGE, REFUSED, CALL, PATCH, SEARCH]
    body = json.dumps({**END["response"], "output": output}, indent=1).encode()
    got = streamed(*[body[at : at + piece] for at in range(0, len(body), piece)])
    assert text_of(got) == "Hi"
    assert done_items(got) == output
    deltas = [each["delta"] for each in got if each["type"].endswith(".delta")]
    assert deltas == ["hm", "Hi", "No.", '{"a":1}', "x"]
    last = got[-1]["response"]
    assert last["output"] == output
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"]) == (3, 2)


@pytest.mark.parametrize(
    "body", [b'{"error": {"message": "no"}}', b"<html>down</html>", b"{", b"[]", b'{"a": 1}']
)
def test_what_is_no_stream_is_an_error(body: bytes) -> None:
    with pytest.raises(DialectError):
        streamed(body)
