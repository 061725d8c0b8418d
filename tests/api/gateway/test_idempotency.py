"""Repeats of requests with an Idempotency-Key: real ledger, real gateways, a scripted upstream."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone
from msgspec.structs import replace

from accounts.models import ApiKey
from api import tasks
from billing.models import CreditAccount, Reservation
from tests.api.gateway import upstream as scripted
from tests.api.gateway.conftest import CREDIT_NANOS
from tests.api.gateway.idempotent import (
    COST_NANOS,
    Process,
    add_model,
    charges,
    error,
    is_replay,
    rows,
    served,
)
from tests.api.gateway.upstream import GOOD_STREAM, answer, chunk, completion, raw, stream
from tests.api.gateway.world import Reply, World, body, in_loop
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)

BROKEN = stream(chunk("Hel"), chunk("lo"))


@served(answer(completion()))
async def test_a_repeat_gets_the_first_answer_and_is_free(
    process: Process, there: scripted.Upstream
) -> None:
    first = await process.ask()
    again = await process.ask('"one"')  # as the draft writes it
    assert (first.status, is_replay(first)) == (200, False)
    assert (again.status, is_replay(again)) == (200, True)
    assert again.body == first.body
    for name in ("content-type", "content-length", "x-request-id", "x-request-cost"):
        assert again.headers[name] == first.headers[name]
    assert "idempotent-replayed" in again.headers["access-control-expose-headers"]
    assert again.headers["x-ratelimit-limit"]
    assert len(there.calls) == 1
    assert await charges() == [COST_NANOS]
    other = await process.ask("two")
    assert not is_replay(other)
    assert len(there.calls) == 2


@served(stream(*GOOD_STREAM))
async def test_a_stream_is_streamed_again_with_the_same_bytes(
    process: Process, there: scripted.Upstream
) -> None:
    first = await process.ask(stream=True)
    again = await process.ask(stream=True)
    assert first.text == "Hello"
    assert again.body == first.body
    assert is_replay(again)
    assert again.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in again.headers
    assert len(there.calls) == 1
    assert await charges() == [COST_NANOS]


@served(answer(completion()))
async def test_a_key_stands_for_one_request(process: Process, there: scripted.Upstream) -> None:
    await process.ask()
    for changed in (
        await process.ask(content=body("Bye")),
        await process.ask(stream=True),
        await process.ask(path="/api/v1/chat/completions"),
        await process.ask(path="/v1/completions", content={"model": "public-model", "prompt": "x"}),
    ):
        assert error(changed) == (422, "idempotency_key_reused")
    assert len(there.calls) == 1
    assert await sync_to_async(Reservation.objects.count)() == 1


@served(answer(completion()))
async def test_a_maximum_cost_is_part_of_the_request(
    process: Process, there: scripted.Upstream
) -> None:
    async def ask(max_cost: str) -> Reply:
        headers = {"authorization": f"Bearer {process.key}", "idempotency-key": "one"}
        return await process.post(body(), headers={**headers, "x-max-cost": max_cost})

    assert not is_replay(await ask("0.50"))
    assert is_replay(await ask("0.500"))
    for changed in (await ask("0.6"), await process.ask()):
        assert error(changed) == (422, "idempotency_key_reused")
    assert error(await ask("much")) == (400, "invalid_max_cost")
    assert len(there.calls) == 1


@served(answer(completion()))
async def test_a_repeat_keeps_no_place_at_the_upstream(
    process: Process, there: scripted.Upstream
) -> None:
    await process.ask()
    assert is_replay(await process.ask())
    assert error(await process.ask(content=body("Bye"))) == (422, "idempotency_key_reused")
    [limiter] = process.gateway.upstreams.limits._limiters.values()
    assert (limiter.in_flight, limiter.expected, limiter.calls_of) == (0, 0, {})


def waits(until: asyncio.Event) -> scripted.Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        await until.wait()
        await answer(completion())(writer)

    return script


@in_loop
async def test_a_repeat_while_the_first_is_in_progress_is_told_to_wait(key: str) -> None:
    goes_on = asyncio.Event()
    async with scripted.Upstream(waits(goes_on)) as there:
        await sync_to_async(add_model)(there.port)
        async with Process(key) as one, Process(key) as other:
            first = asyncio.create_task(one.ask())
            await eventually_async(lambda: there.calls)
            for process in (one, other):
                early = await process.ask()
                assert error(early) == (409, "idempotency_key_in_use")
                assert int(early.headers["retry-after"]) >= 1
            goes_on.set()
            first_reply = await first
            late = await other.ask()
    assert (late.body, is_replay(late)) == (first_reply.body, True)
    assert await charges() == [COST_NANOS]


@in_loop
async def test_of_many_at_once_in_two_processes_one_is_run(key: str) -> None:
    goes_on = asyncio.Event()
    async with scripted.Upstream(waits(goes_on)) as there:
        await sync_to_async(add_model)(there.port)
        async with Process(key) as one, Process(key) as other:
            replies = [Reply() for _ in range(8)]
            asked = [
                asyncio.create_task((one, other)[index % 2].ask(reply=reply))
                for index, reply in enumerate(replies)
            ]
            await eventually_async(lambda: sum(task.done() for task in asked) == 7 and there.calls)
            held = await sync_to_async(Reservation.objects.count)()
            goes_on.set()
            await asyncio.gather(*asked)
    assert sorted(reply.status for reply in replies) == [200] + 7 * [409]
    assert (held, len(there.calls)) == (1, 1)
    assert await charges() == [COST_NANOS]


@served(answer(b"{}", 400), answer(completion()))
async def test_a_failure_that_costs_nothing_may_be_tried_again(
    process: Process, there: scripted.Upstream
) -> None:
    refused = await process.ask(content=body("Hi", temperature=7))
    unknown = await process.ask(content={**body(), "model": "no-such-model"})
    assert (refused.status, unknown.status, await rows()) == (400, 404, [])
    failed = await process.ask()
    assert (failed.status >= 400, await rows()) == (True, [])
    done = await process.ask()
    assert (done.status, is_replay(done)) == (200, False)
    assert await charges() == [COST_NANOS]


@served(answer(completion()))
async def test_a_request_that_the_ledger_refuses_leaves_no_claim(
    process: Process, there: scripted.Upstream
) -> None:
    await sync_to_async(CreditAccount.objects.update)(held_nanos=CREDIT_NANOS)
    poor = await process.ask()
    await sync_to_async(CreditAccount.objects.update)(held_nanos=0)
    assert (poor.status, await rows()) == (402, [])
    assert (await process.ask()).status == 200


@served(BROKEN, answer(completion()))
async def test_an_answer_that_broke_off_and_was_charged_is_not_run_again(
    process: Process, there: scripted.Upstream
) -> None:
    first = await process.ask(stream=True)
    again = await process.ask(stream=True)
    assert b"error" in first.body
    assert (again.body, is_replay(again)) == (first.body, True)
    assert (len(there.calls), len(await charges())) == (1, 1)


@pytest.mark.parametrize("is_streamed", [False, True])
@in_loop
async def test_a_request_goes_on_without_its_client(key: str, is_streamed: bool) -> None:
    goes_on = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        if is_streamed:
            writer.write(scripted.STREAM_HEAD + GOOD_STREAM[0])
            await goes_on.wait()
            writer.write(b"".join(GOOD_STREAM[1:]))
            writer.close()
        else:
            await goes_on.wait()
            await answer(completion())(writer)

    async with scripted.Upstream(slow) as there:
        await sync_to_async(add_model)(there.port)
        async with Process(key) as process:
            first = Reply()
            asked = asyncio.create_task(process.ask(reply=first, stream=is_streamed))
            await eventually_async(lambda: there.calls and (first.body or not is_streamed))
            asked.cancel()
            await asyncio.wait([asked])
            assert (await process.ask(stream=is_streamed)).status == 409
            goes_on.set()
            await eventually_async(lambda: not process.gateway._background)
            again = await process.ask(stream=is_streamed)
    assert (again.status, is_replay(again), len(there.calls)) == (200, True, 1)
    assert again.body.startswith(first.body)
    assert await charges() == [COST_NANOS]


@in_loop
async def test_a_client_that_disconnects_while_it_does_not_read_is_not_waited_for(
    key: str,
) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async with scripted.Upstream(stream(*GOOD_STREAM)) as there:
        await sync_to_async(add_model)(there.port)
        async with Process(key) as process:
            first = Reply()
            headers = {"authorization": f"Bearer {key}", "idempotency-key": "one"}
            sending = process.send(body(stream=True), first, headers=headers, before_write=never)
            asked = asyncio.create_task(sending)
            await eventually_async(lambda: first.body)
            asked.cancel()
            await asyncio.wait([asked])
            await eventually_async(lambda: not process.gateway._background)
            again = await process.ask(stream=True)
    assert again.text == "Hello"
    assert await charges() == [COST_NANOS]


@served(answer(completion("x" * 200_000)))
async def test_a_larger_answer_is_delivered_and_not_kept(
    process: Process, there: scripted.Upstream
) -> None:
    process.gateway.limits = replace(process.gateway.limits, idempotency_max_bytes=100_000)
    first = await process.ask()
    again = await process.ask()
    assert len(first.json["choices"][0]["message"]["content"]) == 200_000
    assert error(again) == (410, "idempotent_answer_gone")
    assert first.headers["x-request-id"] in again.json["error"]["message"]
    assert (len(there.calls), await charges()) == (1, [COST_NANOS])


@pytest.mark.parametrize(
    "value", ["", "x" * 256, "ü", "a\tb", '""'], ids=["empty", "long", "umlaut", "tab", "quotes"]
)
@in_loop
async def test_a_value_that_is_no_key_is_refused(key: str, value: str) -> None:
    async with Process(key) as process:
        headers = {"authorization": f"Bearer {key}", "idempotency-key": value or " "}
        refused = await process.post(body(), headers=headers)
    assert error(refused) == (400, "invalid_idempotency_key")


@served(answer(completion()))
async def test_a_key_that_is_not_valid_claims_nothing_and_gets_nothing(
    process: Process, there: scripted.Upstream
) -> None:
    assert (await process.ask()).status == 200
    stranger = await process.ask(key=process.key[:-1] + "0")
    await sync_to_async(ApiKey.objects.update)(revoked_at=timezone.now())
    revoked = await process.ask()
    other = await process.ask("two")
    assert [reply.status for reply in (stranger, revoked, other)] == 3 * [401]
    assert len(await rows()) == 1
    assert await sync_to_async(tasks.forget_idempotent_requests)() == 1


def test_pages_of_other_origins_may_send_the_header() -> None:
    @in_loop
    async def ask() -> None:
        async with World(raw()) as world:
            answered = await world.post(b"", method="OPTIONS")
        assert "idempotency-key" in answered.headers["access-control-allow-headers"]

    ask()
