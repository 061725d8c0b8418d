"""An upstream's places, shared out by team: one that fills it keeps nobody else out."""

import asyncio
from typing import Any

from accounts import keys
from api.gateway.concurrency_limit import MAX_KEYS, ConcurrencyLimits
from tests.api.gateway.test_concurrency_limit import route
from tests.api.gateway.upstream import GOOD_STREAM, Upstream, chunk, stream
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async

PLACES = 512
PATH = "/v1/chat/completions"
STALLED, ANOTHER = keys.new_key("sk-tg-"), keys.new_key("sk-tg-")


def asked_by(world: World, key: str, **fields: Any) -> "asyncio.Task[Any]":
    """Send a request with a key, and return the task of its reply."""
    headers = {"authorization": f"Bearer {key}"}
    call = world.post(body(**fields), PATH, headers=headers)
    return asyncio.get_running_loop().create_task(call)


async def filled(world: World, key: str, calls: int) -> list["asyncio.Task[Any]"]:
    """Let a team ask for so many streams, which all stall where they are let in."""
    tasks: list[asyncio.Task[Any]] = []

    def is_settled() -> bool:
        return len(world.upstream.calls) + sum(task.done() for task in tasks) == len(tasks)

    while len(tasks) < calls:
        tasks.append(asked_by(world, key, stream=True))
        if len(tasks) % 32 == 0:  # as many as the upstream's listener takes at a time
            await eventually_async(is_settled)
    return tasks


@in_loop
async def test_512_stalled_streams_of_one_team_let_another_teams_next_call_be_served() -> None:
    stalled = stream(chunk("x"), 60.0)
    async with World(
        stalled, upstream={"max_concurrency": PLACES}, limits={"max_cancellations": PLACES}
    ) as world:
        world.gate.teams = {keys.digests(STALLED)[0]: 8, keys.digests(ANOTHER)[0]: 9}
        tasks = await filled(world, STALLED, PLACES)
        refused = [task.result() for task in tasks if task.done()]
        (limiter,) = world.gateway.upstreams.limits._limiters.values()
        assert limiter.calls_of == {8: 409}
        assert {reply.status for reply in refused} == {429}
        assert len(refused) == PLACES - 409
        assert b"Your team's running requests" in refused[-1].body
        # Those whose team was known were refused before anything was reserved.
        admissions = len(world.gate.admissions)
        reply = await asked_by(world, STALLED, stream=True)
        assert (reply.status, len(world.gate.admissions)) == (429, admissions)

        world.upstream.scripts = [stream(*GOOD_STREAM)]
        reply = await asked_by(world, ANOTHER, stream=True)
        assert (reply.status, reply.text) == (200, "Hello")

        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert limiter.calls_of == {}
        assert (limiter.in_flight, limiter.expected) == (0, 0)


@in_loop
async def test_a_route_that_is_full_for_a_team_is_passed_over() -> None:
    first, second = (Upstream(stream(chunk("x"), 60.0)) for _ in range(2))
    async with World(upstreams=[first, second], upstream={"max_concurrency": 5}) as world:
        tasks = [asked_by(world, STALLED, stream=True) for _ in range(9)]
        await eventually_async(lambda: len(first.calls) + len(second.calls) == 8)
        await eventually_async(lambda: any(task.done() for task in tasks))
        (refused,) = [task.result() for task in tasks if task.done()]
        assert (len(first.calls), len(second.calls), refused.status) == (4, 4, 429)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def test_keys_are_not_remembered_without_end():
    limits = ConcurrencyLimits()
    for number in range(MAX_KEYS + 10):
        limits.expect([route(1, 5)], f"key {number}").give_back(1)

    assert len(limits.teams) == MAX_KEYS
    assert f"key {MAX_KEYS}" in limits.teams
