"""What upstreams charge us: by route, by date, and for each attempt."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from api.catalogue.snapshot import ServiceEntry, Snapshot
from billing.pricing.charge import AttemptCost
from billing.pricing.rates import Costs
from tests.api.gateway.early import COSTS, INPUT, OUTPUT, PRICES
from tests.api.gateway.upstream import Upstream, answer, chunk, completion, stream
from tests.api.gateway.world import World, in_loop

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def costs(version: int, nanos: int, since: datetime = LONG_AGO, **fields: Any) -> Costs:
    """Return a cost of so many nano-dollars a token of input, and twice that of output."""
    return Costs(
        version_id=version,
        effective_from=since,
        input_nanos_per_million=nanos * 1_000_000,
        cached_input_nanos_per_million=nanos * 1_000_000,
        output_nanos_per_million=2 * nanos * 1_000_000,
        reasoning_nanos_per_million=2 * nanos * 1_000_000,
        **fields,
    )


class TwoSuppliers(World):
    """The model at two upstreams, whose costs differ."""

    def _routes(self) -> Any:
        first, second = super()._routes()
        return (
            structs.replace(first, costs=(costs(1, 10),)),
            structs.replace(second, costs=(costs(2, 30),)),
        )


def charged(cost: AttemptCost) -> tuple[str, int, int]:
    return cost.upstream, cost.route_cost, cost.amount_nanos


@in_loop
async def test_the_cost_is_that_of_the_route_that_answered() -> None:
    upstreams = [Upstream(answer({"error": {}}, 503)), Upstream(answer(completion()))]
    async with TwoSuppliers(upstreams=upstreams) as world:
        assert (await world.chat()).status == 200
    settled = world.gate.only
    (cost,) = settled.cost_lines
    assert charged(cost) == ("upstream-1", 2, 500 * 30 + 1000 * 60)
    assert cost.lines == [
        ("input", 500, 30_000_000, 1_000_000, 15_000),
        ("output", 1000, 60_000_000, 1_000_000, 60_000),
    ]
    assert settled.upstream_cost_nanos == cost.amount_nanos


@in_loop
async def test_an_attempt_that_failed_has_its_own_cost() -> None:
    """The first upstream broke off before any text, and had reported its prompt by then."""
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    upstreams = [
        Upstream(stream(chunk(usage=usage))),
        Upstream(answer(completion())),
    ]
    async with TwoSuppliers(upstreams=upstreams) as world:
        assert (await world.chat(stream=False)).status == 200
    settled = world.gate.only
    assert sum(cost.amount_nanos for cost in settled.cost_lines) == settled.upstream_cost_nanos
    assert charged(settled.cost_lines[-1]) == ("upstream-1", 2, 75_000)


@pytest.mark.parametrize(("days", "nanos"), [(-1, 50), (1, 10)])
@in_loop
async def test_a_cost_applies_from_its_moment_on(days: int, nanos: int) -> None:
    later = costs(2, 50, datetime.now(UTC) + timedelta(days=days))
    async with World(answer(completion()), costs=(later, costs(1, 10))) as world:
        await world.chat()
    assert world.gate.only.upstream_cost_nanos == nanos * (500 + 2000)


@in_loop
async def test_an_unknown_cost_has_no_lines() -> None:
    async with World(answer(completion())) as world:
        await world.chat()
    assert (world.gate.only.cost_lines, world.gate.only.upstream_cost_nanos) == ([], 0)


# Selling below cost.


class Careful(TwoSuppliers):
    """A service that refuses to sell below cost."""

    def snapshot(self, version: int = 1, **model: Any) -> Snapshot:
        usual = super().snapshot(version, **model)
        service = ServiceEntry(refuses_below_cost=True)
        return Snapshot(version=version, service=service, ordered=usual.ordered)


class Dear(Careful):
    """The first upstream charges more than the customer pays, the second half of that."""

    def _routes(self) -> Any:
        first, second = World._routes(self)
        return (
            structs.replace(first, costs=(costs(1, INPUT + 1),)),
            structs.replace(second, costs=(COSTS,)),
        )


@in_loop
async def test_a_route_that_costs_more_than_the_price_is_not_used() -> None:
    upstreams = [Upstream(answer(completion())), Upstream(answer(completion()))]
    async with Dear(upstreams=upstreams, prices=(PRICES,)) as world:
        assert (await world.chat()).status == 200
    assert [len(upstream.calls) for upstream in upstreams] == [0, 1]
    assert world.gate.only.upstream_cost_nanos == (500 * INPUT + 1000 * OUTPUT) // 2


@in_loop
async def test_routes_below_cost_follow_the_price_in_force() -> None:
    now = datetime.now(UTC)
    dearer = structs.replace(PRICES, version_id=99, factor_millionths=100_000_000)
    upstreams = [Upstream(answer(completion())), Upstream(answer(completion()))]
    async with Dear(upstreams=upstreams, prices=(PRICES,)) as world:
        (model,) = world.snapshot().ordered
    sold = [model.without_losses(prices, now) for prices in (PRICES, dearer, PRICES)]
    assert [len(each.routes) for each in sold] == [1, 2, 1]
    assert sold[0] is sold[2], "compared once"


@in_loop
async def test_a_model_that_can_only_be_sold_at_a_loss_is_offline() -> None:
    class OnlyDear(Dear):
        def _routes(self) -> Any:
            return super()._routes()[:1]

    upstreams = [Upstream(answer(completion())), Upstream(answer(completion()))]
    async with OnlyDear(upstreams=upstreams, prices=(PRICES,)) as world:
        reply = await world.chat()
    assert (reply.status, reply.json["error"]["code"]) == (503, "model_offline")
    assert (upstreams[0].calls, world.gate.admissions) == ([], [])
