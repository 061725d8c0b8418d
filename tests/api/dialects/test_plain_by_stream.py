"""Plain answers that were asked for as streams: each pair gives what the plain call gives."""

import json
import re
from typing import Any

import pytest

from api.dialects import DIALECTS
from api.dialects.base import AnswerContext, DialectError
from billing.pricing.charge import Usage
from tests.api.dialects.clients import CLIENTS
from tests.api.dialects.limits import Limits
from tests.api.dialects.pairs import UPSTREAM_PATHS, exchange

Json = dict[str, Any]

FEATURES: dict[str, tuple[Json, str]] = {
    "text": ({"system": "Be brief."}, "tokens=6&cached=3&prompt_tokens=9"),
    "reasoning": ({"effort": "low"}, "tokens=6&reasoning=4"),
    "one call": ({"tools": ["look"], "effort": "low"}, "tokens=6&reasoning=4&calls=1"),
    "parallel calls": ({"tools": ["look", "touch"]}, "tokens=6&calls=3"),
    "json by a schema": ({"schema": True}, ""),
    "a refusal": ({}, "content=refusal"),
    "the end by length": ({}, "tokens=100000"),
    "no usage": ({}, "tokens=6&usage=missing"),
}
VOLATILE = re.compile(
    r'"(id|call_id|created|created_at|completed_at|signature|encrypted_content|item_id|'
    r'system_fingerprint|data)":("[^"]*"|\d+)'
)


def steady(body: bytes) -> Json:
    """Return an answer without what is new in each: ids and times."""
    steady: Json = json.loads(VOLATILE.sub(r'"\1":"…"', body.decode()))
    return steady


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("upstream", UPSTREAM_PATHS)
@pytest.mark.parametrize("downstream", CLIENTS)
def test_each_pair_gives_the_same_answer(downstream: str, upstream: str, feature: str) -> None:
    asked, script = FEATURES[feature]
    body = CLIENTS[downstream].ask("Hello", **asked)
    plain = exchange(downstream, upstream, body, script, max_tokens=50)
    by_stream = exchange(downstream, upstream, body, script, max_tokens=50, by_stream=True)
    assert by_stream.sent["stream"] is True
    assert not plain.sent.get("stream")
    assert steady(by_stream.body) == steady(plain.body)
    assert by_stream.usage == plain.usage
    cut = exchange(downstream, upstream, body, script, max_tokens=50, by_stream=True, piece=11)
    assert steady(cut.body) == steady(plain.body)


def put_together(
    dialect: str, *events: Json | bytes, max_event_bytes: int = 100_000, **asked: Any
) -> Json:
    """Return the answer that a client of the same dialect gets for a stream of events."""
    body = b"".join(
        event if isinstance(event, bytes) else b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    )
    base: dict[str, Json] = {
        "openai_chat": {"messages": [{"role": "user", "content": "Hi"}]},
        "openai_completions": {"prompt": "Hi"},
        "anthropic_messages": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
        "openai_responses": {"input": "Hi"},
    }
    fields = {"model": "public-model", **base[dialect], **asked}
    request = DIALECTS[dialect].parse(fields, 100)
    context = AnswerContext(
        request, "public-model", "reasoning", answer_id="a1", max_event_bytes=max_event_bytes
    )
    assembler = DIALECTS[dialect].assembler(context)
    assert assembler is not None
    for byte in range(0, len(body), 5):
        assembler.feed(body[byte : byte + 5])
    answer = DIALECTS[dialect].read_answer(assembler.finish(), context)
    shown: Json = json.loads(answer.body(answer.meter(Limits()).usage or Usage()))
    return shown


def chunk(*choices: Json, **fields: Any) -> Json:
    """Return a chunk of a chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "upstream-model",
        "choices": list(choices),
        **fields,
    }


DONE = b"data: [DONE]\n\n"
USED = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def test_choices_and_logprobs_are_kept_apart() -> None:
    def piece(index: int, text: str, end: str | None = None) -> Json:
        token = {"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": []}
        logprobs = {"content": [token], "refusal": None}
        delta = {"content": text}
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": end}

    shown = put_together(
        "openai_chat",
        chunk(piece(1, "b"), system_fingerprint="fp_1"),
        chunk(piece(0, "a")),
        chunk(piece(1, "B", "length"), piece(0, "A", "stop")),
        chunk(usage=USED),
        DONE,
        n=2,
    )
    assert shown["object"] == "chat.completion"
    assert shown["system_fingerprint"] == "fp_1"
    assert shown["model"] == "public-model"
    assert shown["usage"] == USED
    assert [choice["message"]["content"] for choice in shown["choices"]] == ["aA", "bB"]
    assert [choice["finish_reason"] for choice in shown["choices"]] == ["stop", "length"]
    tokens = [token["token"] for token in shown["choices"][1]["logprobs"]["content"]]
    assert tokens == ["b", "B"]


def test_what_comes_with_a_completion_is_kept() -> None:
    """Reasoning in a foreign field, signed details, citations, pictures, a custom tool's input."""
    detail = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
    custom = {"name": "patch", "input": "*** Be"}
    shown = put_together(
        "openai_chat",
        chunk(
            {"index": 0, "delta": {"role": "assistant", "reasoning_content": "hm", "content": ""}}
        ),
        chunk({"index": 0, "delta": {"reasoning_details": [{**detail, "text": "h"}, 7]}}),
        chunk({"index": 0, "delta": {"reasoning_details": [{**detail, "text": "m"}]}}),
        chunk({"index": 0, "delta": {"reasoning_details": [{**detail, "signature": "s"}]}}),
        chunk({"index": 0, "delta": {"annotations": [{"type": "url_citation"}]}}),
        chunk({"index": 0, "delta": {"images": [{"image_url": {"url": "data:,1"}}]}}),
        chunk({"index": 0, "delta": {"images": [{"image_url": {"url": "data:,2"}}]}}),
        chunk({"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c1", "custom": custom}]}}),
        chunk({"index": 0, "delta": {"tool_calls": [{"index": 0, "custom": {"input": "gin"}}]}}),
        chunk({"index": 0, "delta": {}, "finish_reason": "tool_calls"}),
        DONE,
    )
    message = shown["choices"][0]["message"]
    assert message["role"] == "assistant"
    assert message["content"] is None
    assert message["reasoning"] == "hm"
    assert message["reasoning_details"] == [{**detail, "text": "hm", "signature": "s"}]
    assert message["annotations"] == [{"type": "url_citation"}]
    assert [image["image_url"]["url"] for image in message["images"]] == ["data:,1", "data:,2"]
    call = {"id": "c1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    assert message["tool_calls"] == [call]


def test_a_legacy_completion_has_its_texts_and_logprobs() -> None:
    def piece(index: int, text: str, offset: int, end: str | None = None) -> Json:
        logprobs = {"tokens": [text], "token_logprobs": [-1], "text_offset": [offset]}
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": end}

    head = {"id": "cmpl-1", "object": "text_completion", "created": 5, "model": "upstream-model"}
    shown = put_together(
        "openai_completions",
        {**head, "choices": [piece(0, "on", 0)]},
        {**head, "choices": [piece(0, "ce", 2, "stop")], "usage": USED},
        DONE,
    )
    assert shown["object"] == "text_completion"
    (choice,) = shown["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("once", "stop")
    assert choice["logprobs"] == {
        "tokens": ["on", "ce"],
        "token_logprobs": [-1, -1],
        "text_offset": [0, 2],
    }


def test_only_what_a_stream_can_say_is_asked_for_as_one() -> None:
    def assembler_of(dialect: str, **asked: Any) -> object:
        request = DIALECTS[dialect].parse({"model": "m", **asked}, 10)
        return DIALECTS[dialect].assembler(AnswerContext(request, "m", "reasoning"))

    messages = [{"role": "user", "content": "Hi"}]
    sound = {"modalities": ["text", "audio"], "audio": {"voice": "a", "format": "mp3"}}
    assert assembler_of("openai_chat", messages=messages) is not None
    assert assembler_of("openai_chat", messages=messages, **sound) is None
    assert assembler_of("openai_completions", prompt="Hi", best_of=1) is not None
    assert assembler_of("openai_completions", prompt="Hi", best_of=2) is None


def test_a_message_keeps_its_blocks() -> None:
    def event(kind: str, **more: Any) -> Json:
        return {"type": kind, **more}

    def block(index: int, start: Json, *deltas: Json) -> list[Json]:
        return [
            event("content_block_start", index=index, content_block=start),
            *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
            event("content_block_stop", index=index),
        ]

    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "up", "content": []}
    citation = {"type": "char_location", "cited_text": "x"}
    shown = put_together(
        "anthropic_messages",
        event("message_start", message={**head, "usage": {"input_tokens": 3, "output_tokens": 1}}),
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "a"},
            {"type": "thinking_delta", "thinking": "b"},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(
            1,
            {"type": "text", "text": ""},
            {"type": "text_delta", "text": "c"},
            {"type": "citations_delta", "citation": citation},
        ),
        *block(2, {"type": "tool_use", "id": "t1", "name": "none", "input": {}}),
        *block(
            3,
            {"type": "tool_use", "id": "t2", "name": "cut", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city": "Par'},
        ),
        event(
            "message_delta",
            delta={"stop_reason": "stop_sequence", "stop_sequence": "END"},
            usage={"output_tokens": 8},
        ),
        event("message_stop"),
    )
    assert shown["content"] == [
        {"type": "thinking", "thinking": "ab", "signature": "sig"},
        {"type": "text", "text": "c", "citations": [citation]},
        {"type": "tool_use", "id": "t1", "name": "none", "input": {}},
        {"type": "tool_use", "id": "t2", "name": "cut", "input": {"arguments": '{"city": "Par'}},
    ]
    assert (shown["stop_reason"], shown["stop_sequence"]) == ("stop_sequence", "END")
    assert (shown["usage"]["input_tokens"], shown["usage"]["output_tokens"]) == (3, 8)


def test_a_response_whose_last_event_has_no_output_is_made_of_its_items() -> None:
    """As some upstreams end: with what came before the end left out, and an item unfinished."""

    def event(kind: str, **more: Any) -> Json:
        return {"type": f"response.{kind}", **more}

    def delta(kind: str, text: str, **place: Any) -> Json:
        return event(f"{kind}.delta", delta=text, **place)

    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look"}
    said = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress"}
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    shown = put_together(
        "openai_responses",
        event("created", response={"id": "resp_1", "object": "response", "output": []}),
        event("output_item.added", output_index=0, item=thought),
        delta("reasoning_summary_text", "hm", output_index=0, summary_index=0),
        event("output_item.added", output_index=1, item={**call, "arguments": ""}),
        event("output_item.done", output_index=1, item={**call, "arguments": "{}"}),
        event("output_item.added", output_index=2, item={**said, "content": []}),
        delta("output_text", "a", output_index=2, content_index=0),
        delta("output_text", "b", output_index=2, content_index=0),
        event("completed", response={"usage": {"input_tokens": 3, "output_tokens": 4}}),
    )
    assert (shown["id"], shown["status"], shown["store"]) == ("resp_1", "completed", False)
    assert shown["output"] == [
        {**thought, "summary": [{"type": "summary_text", "text": "hm"}]},
        {**call, "arguments": "{}"},
        {
            **said,
            "status": "completed",
            "content": [{"type": "output_text", "text": "ab", "annotations": []}],
        },
    ]
    assert shown["usage"]["total_tokens"] == 7


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "openai_responses"])
def test_an_answer_that_comes_whole_in_spite_of_all_is_read_as_one(dialect: str) -> None:
    """An upstream without streams, whose JSON may begin with a byte order mark."""
    whole: dict[str, Json] = {
        "openai_chat": {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "up",
            "choices": [{"index": 0, "message": {"content": "ab"}, "finish_reason": "stop"}],
        },
        "anthropic_messages": {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "ab"}],
            "stop_reason": "end_turn",
        },
        "openai_responses": {
            "object": "response",
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "ab"}]}],
        },
    }
    shown = put_together(dialect, b"\xef\xbb\xbf\n " + json.dumps(whole[dialect]).encode())
    assert '"ab"' in json.dumps(shown)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "openai_responses"])
@pytest.mark.parametrize("page", [b"<html>down</html>", b'[{"error": {"message": "no"}}]', b"{"])
def test_a_page_or_an_error_is_no_answer(dialect: str, page: bytes) -> None:
    with pytest.raises(DialectError):
        put_together(dialect, page)


def test_an_answer_beyond_the_bound_is_an_error() -> None:
    pieces = [chunk({"index": 0, "delta": {"content": "x" * 90}}) for _ in range(12)]
    end = chunk({"index": 0, "delta": {}, "finish_reason": "stop"})
    assert put_together("openai_chat", *pieces, end, DONE, max_event_bytes=1_080)
    with pytest.raises(DialectError, match="more than 1079 bytes"):
        put_together("openai_chat", *pieces, end, DONE, max_event_bytes=1_079)
    details = [chunk({"index": 0, "delta": {"annotations": [{"x": "y" * 600}]}}) for _ in range(4)]
    with pytest.raises(DialectError, match="more than 1000 bytes"):
        put_together("openai_chat", *details, end, DONE, max_event_bytes=1_000)
