"""Ratios of reported to estimated tokens: shared through the table, bounded, and never a hold."""

import asyncio
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from api.gateway.token_ratios import LEAST_TOKENS, Sample, TokenRatios, ratio_of
from api.models import TokenRatio
from tests.api.gateway.upstream import answer, chunk, completion, stream
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async

MODEL = "public-model"


def url() -> str:
    """Return the address of the tests' database."""
    return psycopg.conninfo.make_conninfo(
        settings.DATABASE_URL, dbname=connection.settings_dict["NAME"]
    )


def shared(*samples: Sample) -> dict[str, float]:
    """Share samples as a process does, and return the ratios that it knows then."""
    ratios = TokenRatios(url())
    ratios.samples.extend(samples)
    asyncio.run(ratios.flush())
    return ratios.known


@pytest.mark.django_db(transaction=True)
def test_processes_share_what_upstreams_report() -> None:
    half = LEAST_TOKENS // 10_000 // 2
    assert shared(*[(MODEL, 10_000, 12_000)] * half) == {}
    assert shared(*[(MODEL, 10_000, 12_000)] * (half + 1)) == {MODEL: pytest.approx(1.2)}
    assert shared() == {MODEL: pytest.approx(1.2)}
    for _ in range(3):
        known = shared(*[(MODEL, 10_000, 9_000)] * 400)
    # The past fades.
    assert known[MODEL] == pytest.approx(0.9, abs=0.02)
    assert TokenRatio.objects.get().estimated_tokens <= 6_000_000


@pytest.mark.django_db(transaction=True)
def test_one_request_can_not_decide_a_ratio() -> None:
    usual = [(MODEL, 5_000, 5_000)] * 20
    assert shared(*usual, (MODEL, 100_000, 10_000_000))[MODEL] < 1.3


def test_a_ratio_has_bounds() -> None:
    assert (ratio_of(1_000, 9_000), ratio_of(1_000, 1)) == (2.0, 0.5)


def test_without_a_database_nothing_is_known_and_nothing_fails() -> None:
    ratios = TokenRatios("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(psycopg.Error):
        asyncio.run(ratios.flush())
    asyncio.run(ratios.close())


@in_loop
async def test_answers_of_text_are_noted_without_the_ratio() -> None:
    usage = {"prompt_tokens": 120, "completion_tokens": 5, "total_tokens": 125}
    async with World(answer(completion(usage=usage))) as world:
        samples = world.gateway.token_ratios.samples
        await world.chat("x" * 400)
        world.gateway.token_ratios.known[MODEL] = 1.5
        await world.chat("x" * 400)
        assert list(samples) == [(MODEL, 104, 120)] * 2
        samples.clear()
        await world.chat([{"type": "image_url", "image_url": {"url": "https://x"}}])
        assert list(samples) == []


@pytest.mark.parametrize("ratio", [0.5, 2.0])
@in_loop
async def test_a_ratio_changes_estimates_and_no_hold(ratio: float) -> None:
    async def closed(world: World) -> Any:
        task, reply = world.begin(body("y" * 4_000, stream=True))
        await eventually_async(lambda: b"xxxx" in reply.body)
        task.cancel()
        await asyncio.wait([task])
        return world.gate.settlements[-1]

    async with World(stream(chunk("x" * 400), 5.0)) as world:
        plain = await closed(world)
        world.gateway.token_ratios.known[MODEL] = ratio
        settled = await closed(world)
        before, after = world.gate.admissions
    assert settled.input_tokens == round(plain.input_tokens * ratio)
    assert settled.output_tokens == plain.output_tokens * ratio
    assert after.amount_nanos == before.amount_nanos
    assert after.tokens - before.tokens == settled.input_tokens - plain.input_tokens
