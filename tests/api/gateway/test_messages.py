"""Messages and Responses through the gateway: credentials, envelopes, streams, refusals."""

import json
from typing import Any

import pytest

from api import errors
from api.gateway.upstream_errors import AttemptError
from tests.api.gateway.upstream import (
    GOOD_STREAM,
    STREAM_HEAD,
    answer,
    chunk,
    completion,
    raw,
    stream,
)
from tests.api.gateway.world import KEY, Reply, World, in_loop

MESSAGES, RESPONSES = "/v1/messages", "/v1/responses"
TO_MESSAGES = {"dialect": "anthropic_messages"}


def message(**fields: Any) -> dict[str, Any]:
    """Return the body of a Messages request."""
    messages = [{"role": "user", "content": "Hi"}]
    return {"model": "public-model", "max_tokens": 500, "messages": messages, **fields}


def response(**fields: Any) -> dict[str, Any]:
    """Return the body of a Responses request."""
    return {"model": "public-model", "input": "Hi", **fields}


def kinds(reply: Reply) -> list[str]:
    """Return the types of a stream's events."""
    return [event["type"] for event in reply.events]


@in_loop
async def test_a_message_is_answered_and_charged_as_its_usage_says() -> None:
    async with World(answer(completion())) as world:
        reply = await world.post(message(), MESSAGES)
        assert reply.status == 200
        assert reply.json["content"] == [{"type": "text", "text": "Hello there"}]
        assert reply.json["usage"]["input_tokens"] == 500
        assert reply.headers["request-id"] == reply.headers["x-request-id"]
        assert reply.headers["x-request-cost"] == "0.002850000"
        settled = world.gate.only
        assert (settled.endpoint, settled.input_tokens, settled.output_tokens) == (
            "messages",
            500,
            1000,
        )


@pytest.mark.parametrize("path", [MESSAGES, "/messages", "/api/v1/messages"])
@in_loop
async def test_messages_are_served_under_every_mount(path: str) -> None:
    async with World(answer(completion())) as world:
        assert (await world.post(message(), path)).status == 200
        # As an SDK builds it, whatever base URL it is given.
        assert (await world.post(message(), "/api/paas/v4/v1/messages")).status == 200


@pytest.mark.parametrize("path", [MESSAGES, RESPONSES, "/v1/chat/completions"])
@in_loop
async def test_the_key_may_be_an_x_api_key(path: str) -> None:
    body = {**message(), "input": "Hi"}
    async with World(answer(completion())) as world:
        headers = {"authorization": "", "x-api-key": KEY}
        assert (await world.post(body, path, headers=headers)).status == 200
        bad = {"authorization": "", "x-api-key": "sk-tg-wrong"}
        assert (await world.post(body, path, headers=bad)).status == 401


@in_loop
async def test_an_error_has_anthropics_envelope() -> None:
    async with World(answer(completion())) as world:
        reply = await world.post({"model": "public-model", "messages": []}, MESSAGES)
        assert reply.status == 400
        assert reply.json["type"] == "error"
        assert reply.json["error"]["type"] == "invalid_request_error"
        assert reply.json["request_id"] == reply.headers["request-id"]
        unknown = await world.post(message(model="nobody"), MESSAGES)
        assert (unknown.status, unknown.json["error"]["type"]) == (404, "not_found_error")
        wrong = await world.post(message(), MESSAGES, headers={"authorization": "Bearer no"})
        assert (wrong.status, wrong.json["error"]["type"]) == (401, "authentication_error")
        # Its SDKs would try again for minutes.
        assert wrong.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("path", "code", "status", "kind"),
    [
        (MESSAGES, "insufficient_quota", 402, "billing_error"),
        (MESSAGES, "budget_exceeded", 429, "billing_error"),
        (MESSAGES, "rate_limited_requests", 429, "rate_limit_error"),
        (RESPONSES, "insufficient_quota", 429, "insufficient_quota"),
        (RESPONSES, "budget_exceeded", 429, "insufficient_quota"),
        (RESPONSES, "rate_limited_requests", 429, "requests"),
    ],
)
@in_loop
async def test_a_lack_of_credit_ends_an_agent_at_once(
    path: str, code: str, status: int, kind: str
) -> None:
    async with World(answer(completion())) as world:
        world.gate.code = code
        reply = await world.post({**message(), "input": "Hi"}, path)
        assert (reply.status, reply.json["error"]["type"]) == (status, kind)
        if kind in {"billing_error", "insufficient_quota"}:
            assert reply.headers["x-should-retry"] == "false"
        assert world.gate.settlements == []


@in_loop
async def test_a_streamed_message_waits_with_pings_and_ends_in_order() -> None:
    script = raw(STREAM_HEAD, chunk("Hel"), 0.5, chunk("lo"), *GOOD_STREAM[2:])
    async with World(script, limits={"keepalive_seconds": 0.15}) as world:
        reply = await world.post(message(stream=True), MESSAGES)
        assert reply.headers["request-id"]
        told = kinds(reply)
        assert "ping" in told
        assert [kind for kind in told if kind != "ping"] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert reply.events[-2]["usage"]["output_tokens"] == 1000


@in_loop
async def test_a_stream_that_breaks_off_ends_with_the_dialects_error() -> None:
    script = stream(chunk("Hello"), chunk("again"))
    async with World(script) as world:
        reply = await world.post(message(stream=True), MESSAGES)
        assert kinds(reply)[-1] == "error"
        assert reply.events[-1]["error"]["type"] == "api_error"
        reply = await world.post(response(stream=True), RESPONSES)
        last = reply.events[-1]
        assert last["type"] == "response.failed"
        assert last["response"]["error"]["code"] == "server_error"
        assert [event["sequence_number"] for event in reply.events] == list(
            range(len(reply.events))
        )


@in_loop
async def test_a_broken_stream_of_messages_upstream_is_an_error_event() -> None:
    start = {"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 5}}}
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "Hello"},
    }
    events = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in (start, block, delta)]
    async with World(stream(*events), upstream=TO_MESSAGES) as world:
        reply = await world.post(message(stream=True), MESSAGES)
        assert kinds(reply) == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "error",
        ]
        assert reply.events[0]["message"]["model"] == "public-model"
        settled = world.gate.only
        assert settled.outcome == "upstream_incomplete"
        assert settled.source == "estimated"


@in_loop
async def test_what_the_client_may_tell_anthropic_is_forwarded() -> None:
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 3},
        "something_new": True,
    }
    async with World(answer(whole), upstream=TO_MESSAGES) as world:
        betas = "context-management-2025-06-27, context-1m-2025-08-07, brand-new-2027"
        headers = {"anthropic-beta": betas, "anthropic-version": "2023-06-01", "x-strange": "1"}
        reply = await world.post(
            message(brand_new={"a": 1}, speed="fast"), MESSAGES, headers=headers
        )
        assert reply.status == 200
        assert reply.json["something_new"] is True
        head, call = world.upstream.heads[0].lower(), world.upstream.calls[0]
        assert "anthropic-beta: context-management-2025-06-27,brand-new-2027" in head
        assert "x-strange" not in head
        assert call["brand_new"] == {"a": 1}
        assert "speed" not in call


@in_loop
async def test_a_small_balance_lowers_the_limit_that_every_message_must_name() -> None:
    async with World(answer(completion())) as world:
        world.gate.granted_nanos = 1_000_000
        reply = await world.post(message(max_tokens=8_000), MESSAGES)
        assert reply.status == 200
        assert 1 <= world.upstream.calls[0]["max_tokens"] < 400


@in_loop
async def test_an_agents_limit_counts_a_slice_against_the_tokens_a_minute() -> None:
    async with World(answer(completion()), max_output_tokens=128_000) as world:
        await world.post(message(max_tokens=128_000), MESSAGES)
        (admission,) = world.gate.admissions
        assert admission.tokens < 5_000


@in_loop
async def test_a_prompt_that_is_too_long_is_said_in_the_words_that_agents_know() -> None:
    error = {"error": {"message": "maximum context length is 8192, you sent 9,500 tokens"}}
    async with World(answer(error, status=400)) as world:
        reply = await world.post(message(), MESSAGES)
        assert reply.status == 400
        assert reply.json["error"]["message"] == "prompt is too long: 9500 tokens > 8192 maximum"


def test_a_context_error_without_figures_takes_ours() -> None:
    error = AttemptError("rejected", code="context_length_exceeded", message="too long")
    error.note_context(150, 100)
    told = error.as_error()
    assert isinstance(told, errors.ContextLengthError)
    assert (told.prompt_tokens, told.most_tokens) == (150, 100)


@in_loop
async def test_tokens_are_counted_for_free() -> None:
    async with World(answer(completion())) as world:
        body = message(system="Be brief. " * 20)
        del body["max_tokens"]
        reply = await world.post(body, "/v1/messages/count_tokens")
        assert reply.status == 200
        assert reply.json["input_tokens"] > 40
        assert world.gate.settlements == []
        assert world.gate.admissions == []
        assert world.upstream.calls == []


@in_loop
async def test_tokens_are_counted_by_an_upstream_that_can() -> None:
    async with World(answer({"input_tokens": 4711}), upstream=TO_MESSAGES) as world:
        reply = await world.post(message(), "/v1/messages/count_tokens")
        assert reply.json == {"input_tokens": 4711}
        assert "max_tokens" not in world.upstream.calls[0]
        world.gateway.breakers.add(0, 1, 60.0)
        reply = await world.post(message(), "/v1/messages/count_tokens")
        assert reply.status == 200
        assert len(world.upstream.calls) == 1, "an ejected route is not asked"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("background", True),
        ("conversation", "conv_1"),
        ("input", [{"type": "item_reference", "id": "msg_1"}]),
        ("tools", [{"type": "file_search", "vector_store_ids": ["v"]}]),
    ],
)
@in_loop
async def test_what_needs_stored_responses_is_refused(field: str, value: Any) -> None:
    async with World(answer(completion())) as world:
        reply = await world.post(response(**{field: value}), RESPONSES)
        assert reply.status == 400
        assert reply.json["error"]["code"] == "unsupported_parameter"
        assert reply.json["error"]["param"].startswith(field)
        assert world.upstream.calls == []


@in_loop
async def test_a_response_is_not_stored_and_its_web_search_is_left_out() -> None:
    tools = [{"type": "web_search"}, {"type": "function", "name": "look", "parameters": {}}]
    async with World(answer(completion())) as world:
        reply = await world.post(response(store=True, tools=tools), RESPONSES)
        assert reply.json["store"] is False
        names = [tool["function"]["name"] for tool in world.upstream.calls[0]["tools"]]
        assert names == ["look"]


@in_loop
async def test_what_an_upstream_has_no_words_for_costs_nothing() -> None:
    async with World(answer(completion()), upstream=TO_MESSAGES) as world:
        reply = await world.chat(n=3)
        assert reply.status == 400
        assert reply.json["error"]["code"] == "unsupported_parameter"
        assert reply.json["error"]["param"] == "n"
        assert world.upstream.calls == []
        settled = world.gate.only
        assert settled.input_nanos == settled.output_nanos == 0


@in_loop
async def test_the_models_list_comes_in_the_clients_form() -> None:
    async with World(answer(completion()), supported_features=("reasoning",)) as world:
        headers = {"anthropic-version": "2023-06-01"}
        reply = await world.post({}, "/v1/models", method="GET", headers=headers)
        assert reply.json["data"][0]["type"] == "model"
        assert reply.json["data"][0]["max_input_tokens"] == 128_000
        assert reply.json["has_more"] is False
        codex = await world.post({}, "/v1/models?client_version=0.171.0", method="GET")
        assert codex.json["object"] == "list"
        assert codex.json["models"][0]["slug"] == "public-model"
        usual = await world.post({}, "/v1/models", method="GET")
        assert "models" not in usual.json
