"""Chat completions in one piece."""

import asyncio
import gc
import json

import pytest

from api.gateway.settlement import AdmittedRequest
from tests.api.gateway.upstream import answer, completion, head, raw, reset
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async


@in_loop
async def test_the_answer_costs_what_the_upstream_counted() -> None:
    async with World(answer(completion())) as world:
        reply = await world.chat(max_tokens=2000)
    assert reply.status == 200
    assert reply.headers["x-request-cost"] == "0.002850000"
    settled = world.gate.only
    assert (settled.input_nanos, settled.output_nanos) == (350_000, 2_500_000)
    assert (settled.input_tokens, settled.output_tokens, settled.source) == (500, 1000, "upstream")
    assert (settled.outcome, settled.status, settled.finish_reason) == ("completed", 200, "stop")
    assert settled.request_id == reply.headers["x-request-id"]
    assert [attempt["status"] for attempt in settled.attempts] == [200]


@in_loop
async def test_the_client_sees_the_name_it_asked_for() -> None:
    async with World(answer(completion())) as world:
        assert (await world.chat(model="other-name")).json["model"] == "other-name"
        assert world.upstream.calls[0]["model"] == "upstream-model"
        assert world.gate.only.model == "public-model"


@in_loop
async def test_another_name_inside_of_the_answer_is_left_alone() -> None:
    text = '{"model":"upstream-model"}'
    async with World(answer(completion(text, note={"model": "upstream-model"}))) as world:
        reply = (await world.chat()).json
    assert reply["model"] == "public-model"
    assert reply["choices"][0]["message"]["content"] == text
    assert reply["note"] == {"model": "upstream-model"}


@in_loop
async def test_max_tokens_is_clamped_and_sent_by_one_name() -> None:
    async with World(answer(completion())) as world:
        await world.chat(max_completion_tokens=1_000_000)
        sent = world.upstream.calls[0]
    assert sent["max_tokens"] == 8192
    assert "max_completion_tokens" not in sent


@in_loop
async def test_a_hold_below_the_quote_lowers_max_tokens() -> None:
    async with World(answer(completion())) as world:
        world.gate.granted_nanos = 1_000_000
        await world.chat(n=2)
        sent = world.upstream.calls[0]
    admission = world.gate.admissions[0]
    assert admission.minimum_nanos < admission.amount_nanos
    assert 0 < sent["max_tokens"] * 2 * 2500 <= 1_000_000


@in_loop
async def test_a_named_max_tokens_is_all_or_nothing_and_counts_against_the_minute() -> None:
    async with World(answer(completion())) as world:
        await world.chat("x" * 400, max_tokens=50, n=2)
        admission = world.gate.admissions[0]
    assert admission.minimum_nanos == admission.amount_nanos
    assert admission.tokens == 104 + 100


@in_loop
async def test_the_models_defaults_are_sent_where_the_client_names_none() -> None:
    entry = {"default_max_tokens": 1024, "default_temperature": 0.7, "default_top_p": 0.9}
    async with World(answer(completion()), **entry) as world:
        await world.chat(temperature=0)
        sent = world.upstream.calls[0]
    assert (sent["max_tokens"], sent["temperature"], sent["top_p"]) == (1024, 0, 0.9)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, (24, 10)),
        ({"prompt_tokens": -1, "completion_tokens": 5}, (24, 5)),
        ({"prompt_tokens": 5, "completion_tokens": 1.5}, (5, 10)),
        ({"prompt_tokens": 5, "completion_tokens": True}, (5, 10)),
        ({"prompt_tokens": "5", "completion_tokens": 5}, (24, 5)),
        ({"prompt_tokens": 5, "completion_tokens": 10**12}, (5, 10)),
        ({"prompt_tokens": 5, "completion_tokens": 0}, (5, 10)),
        ([], (24, 10)),
    ],
)
@in_loop
async def test_usage_that_can_not_be_true_is_estimated(
    usage: object, tokens: tuple[int, int]
) -> None:
    async with World(answer(completion("y" * 40, usage=usage))) as world:
        reply = await world.chat("x" * 80)
    settled = world.gate.only
    assert reply.status == 200
    assert settled.source == "estimated"
    assert (settled.input_tokens, settled.output_tokens) == tokens
    shown = reply.json["usage"]
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == tokens


@pytest.mark.parametrize(
    "usage",
    [
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 60},
        },
        {"prompt_tokens": 100, "completion_tokens": 5, "prompt_cache_hit_tokens": 60},
        {"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 60},
        {"prompt_tokens": 40, "completion_tokens": 5, "cache_read_input_tokens": 60},
        {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "cache_read_input_tokens": 60,
            "total_tokens": 105,
        },
    ],
)
@in_loop
async def test_cached_tokens_are_found_and_priced(usage: dict[str, object]) -> None:
    async with World(answer(completion(usage=usage))) as world:
        await world.chat()
    settled = world.gate.only
    assert (settled.input_tokens, settled.cached_tokens) == (100, 60)
    assert (settled.input_nanos, settled.cached_nanos) == (40 * 700, 60 * 70)


@in_loop
async def test_an_empty_answer_costs_nothing() -> None:
    usage = {"prompt_tokens": 500, "completion_tokens": 0}
    async with World(answer(completion("", usage=usage))) as world:
        reply = await world.chat()
    assert reply.headers["x-request-cost"] == "0.000000000"
    assert (world.gate.only.outcome, world.gate.only.source) == ("empty", "none")


@in_loop
async def test_hidden_reasoning_is_no_empty_answer() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 50,
        "completion_tokens_details": {"reasoning_tokens": 50},
    }
    async with World(answer(completion("", usage=usage))) as world:
        await world.chat()
    assert (world.gate.only.outcome, world.gate.only.reasoning_tokens) == ("completed", 50)


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (answer(b"nonsense"), 502, "upstream_error"),
        (answer(b"<html>"), 502, "upstream_error"),
        (answer(b'{"choices": 5}'), 502, "upstream_error"),
        (answer(b'{"ok": true}'), 502, "upstream_error"),
        (answer(b'{"error": {"message": "no"}}'), 502, "upstream_error"),
        (answer(b"\xff\xfe"), 502, "upstream_error"),
        (answer(b"{}", content_encoding="gzip"), 502, "upstream_error"),
        (raw(head(content_length="100"), b"short"), 502, "upstream_error"),
        (raw(head(), b"x" * 2_000_000), 502, "upstream_error"),
        (answer(b"{}", 500), 502, "upstream_error"),
        (answer(b"{}", 401), 502, "upstream_error"),
        (answer(b"{}", 302, location="http://127.0.0.1:1/"), 502, "upstream_error"),
        (answer(b"{}", 429, retry_after="9"), 429, "rate_limit_exceeded"),
        (reset(), 502, "upstream_error"),
    ],
)
@in_loop
async def test_a_failed_call_is_told_and_free(script: object, status: int, code: str) -> None:
    async with World(script) as world:  # type: ignore[arg-type]
        reply = await world.chat()
    assert reply.status == status
    assert reply.json["error"]["code"] == code
    assert world.gate.only.source == "none"
    assert world.gate.only.outcome == "upstream_error"
    assert world.gate.only.error
    if status == 429:
        assert reply.headers["retry-after"] == "9"


@in_loop
async def test_the_upstreams_refusal_of_the_request_is_told_without_its_secrets() -> None:
    refusal = {
        "error": {"message": "Bad field, key sk-live-1234567890abcdef", "param": "messages[0]"}
    }
    async with World(answer(refusal, 422)) as world:
        reply = await world.chat()
    assert reply.status == 400
    assert reply.json["error"]["param"] == "messages[0]"
    assert reply.json["error"]["message"].startswith("Bad field")
    assert b"sk-live" not in reply.body
    assert len(world.upstream.calls) == 1


@in_loop
async def test_the_upstreams_refusal_of_our_key_is_never_quoted() -> None:
    refusal = {"error": {"message": "Incorrect API key provided: sk-live-1234"}}
    async with World(answer(refusal, 401)) as world:
        reply = await world.chat()
    assert reply.status == 502
    assert b"API key" not in reply.body
    assert "sk-live" not in repr(world.gate.settlements)


@in_loop
async def test_a_bad_moment_is_tried_once_more_and_charged_once() -> None:
    async with World(answer(b"{}", 503), answer(completion())) as world:
        reply = await world.chat()
    assert reply.status == 200
    assert [attempt["status"] for attempt in world.gate.only.attempts] == [503, 200]


@in_loop
async def test_two_connections_that_were_closed_while_idle_are_no_failure() -> None:
    used: set[asyncio.StreamWriter] = set()

    async def once(writer: asyncio.StreamWriter) -> None:
        """Answer a connection's first request, and close it at the next."""
        if writer in used:
            writer.close()
            return
        used.add(writer)
        await asyncio.sleep(0.1)  # so that the first requests have a connection each
        await answer(completion())(writer)

    async with World(once) as world:
        await asyncio.gather(*(world.chat() for _ in range(3)))
        assert len(used) == 3
        reply = await world.chat()
    assert reply.status == 200
    assert [attempt["status"] for attempt in world.gate.settlements[-1].attempts] == [0, 200]


@in_loop
async def test_a_kept_connection_keeps_no_request() -> None:
    async with World(answer(completion())) as world:
        task, reply = world.begin(body())
        await task
        del task
        gc.collect()
        assert reply.status == 200
        # Not by isinstance, which asks dead weak references for their class.
        assert not [each for each in gc.get_objects() if type(each) is AdmittedRequest]
        await world.chat()
        assert world.upstream.connections == 1


@in_loop
async def test_a_refused_connection_is_a_connect_error() -> None:
    async with World() as world:
        await world.upstream.__aexit__()
        await asyncio.sleep(0)
        reply = await world.chat()
    assert reply.status == 502
    assert "no connection" in world.gate.only.error


@in_loop
async def test_a_plain_answer_may_take_longer_than_a_first_token() -> None:
    timeouts, plain = {"first_token_timeout_seconds": 0.1}, json.dumps(completion()).encode()
    script = raw(0.5, head(content_length=str(len(plain))), plain)
    async with World(script, upstream=timeouts) as world:
        reply = await world.chat()
    assert reply.status == 200
    assert world.gate.only.outcome == "completed"


@in_loop
async def test_a_silent_upstream_is_given_up() -> None:
    timeouts = {"total_timeout_seconds": 0.3}
    async with World(raw(5.0), upstream=timeouts) as world:
        reply = await world.chat()
    assert (reply.status, reply.json["error"]["code"]) == (504, "upstream_timeout")
    assert world.gate.only.outcome == "upstream_timeout"


@in_loop
async def test_a_dripping_upstream_is_given_up_in_total() -> None:
    timeouts = {"total_timeout_seconds": 0.4}
    drip = [part for _ in range(50) for part in (b" ", 0.05)]
    async with World(raw(head(), *drip), upstream=timeouts) as world:
        reply = await world.chat()
    assert reply.status == 504


@in_loop
async def test_a_client_who_leaves_stops_the_upstream_and_pays_for_the_prompt() -> None:
    async with World(raw(5.0)) as world:
        task, _ = world.begin(body("x" * 400))
        await eventually_async(lambda: world.upstream.calls)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    assert task.cancelled()
    settled = world.gate.only
    assert (settled.outcome, settled.source, settled.status) == ("client_closed", "estimated", 499)
    assert (settled.input_tokens, settled.output_tokens) == (104, 0)


@in_loop
async def test_a_client_who_leaves_while_nothing_is_reserved_costs_nothing() -> None:
    async with World(answer(completion())) as world:
        task, _ = world.begin(body())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert world.gate.settlements == []


@in_loop
async def test_the_answer_waits_for_its_settlement_but_not_for_ever() -> None:
    async with World(answer(completion()), limits={"settle_wait_seconds": 300}) as world:
        world.gate.receipts_wait = asyncio.Event()
        task, reply = world.begin(body())
        await eventually_async(lambda: world.gate.settlements)
        await asyncio.sleep(0.1)
        assert reply.status == 0
        world.gate.receipts_wait.set()
        await eventually_async(lambda: reply.is_complete)
        await task

    async with World(answer(completion()), limits={"settle_wait_seconds": 0.1}) as world:
        world.gate.receipts_wait = asyncio.Event()
        reply = await world.chat()
        assert reply.status == 200


@in_loop
async def test_a_mistake_of_ours_is_a_500_and_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_args: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr("api.dialects.openai_chat.ChatDialect.upstream_body", explode)
    async with World(answer(completion())) as world:
        reply = await world.chat()
    assert (reply.status, reply.json["error"]["code"]) == (500, "internal_error")
    assert (world.gate.only.outcome, world.gate.only.source) == ("internal_error", "none")


@in_loop
async def test_concurrency_beyond_the_upstreams_is_429() -> None:
    async with World(raw(0.3, head(), b"{}"), upstream={"max_concurrency": 1}) as world:
        task, _ = world.begin(body())
        await eventually_async(lambda: world.upstream.calls)
        reply = await world.chat()
        assert reply.status == 429
        assert int(reply.headers["retry-after"]) >= 1
        await task


@in_loop
async def test_a_shutdown_ends_plain_requests_free_of_charge() -> None:
    async with World(raw(5.0)) as world:
        task, reply = world.begin(body())
        await eventually_async(lambda: world.upstream.calls)
        world.gateway.shut_down()
        await task
        assert (reply.status, reply.json["error"]["code"]) == (503, "server_shutting_down")
        assert world.gate.only.source == "none"
        assert (await world.chat()).status == 503
        assert len(world.gate.settlements) == 1
