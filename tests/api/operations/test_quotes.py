"""`POST …/quote`: the quote that the request itself would be admitted by, and its likely cost."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api.operations import OPERATIONS, quotes
from api.operations.quotes import History, QuoteAnswer
from billing.pricing.rates import ContextTier, Prices
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, body, in_loop

HISTORY = History(10, input_tokens=1000, cached_tokens=600, output_tokens=500)
QUOTED = [each for each in OPERATIONS.values() if each.quoter is not None]


@pytest.fixture(autouse=True)
def history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key has a history, without a database."""
    monkeypatch.setattr(quotes, "_history", lambda *_: HISTORY)

    async def look_up(_team_id: int, read: Any) -> Any:
        return read()

    monkeypatch.setattr(quotes, "look_up", look_up)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", body()),
        ("/v1/chat/completions", body(max_tokens=50, n=2, stream=True)),
        ("/v1/completions", {"model": "public-model", "prompt": "Hi", "max_tokens": 5}),
        (
            "/v1/messages",
            {"model": "public-model", "max_tokens": 99, "messages": body()["messages"]},
        ),
        ("/v1/responses", {"model": "public-model", "input": "Hi"}),
    ],
)
@in_loop
async def test_a_quote_is_what_the_request_is_admitted_by(path: str, asked: Any) -> None:
    async with World(answer(completion())) as world:
        reply = await world.post(asked, f"{path}/quote")
        assert (world.gate.admissions, world.upstream.calls) == ([], [])
        await world.post(asked, path)
        (admission,) = world.gate.admissions
    found = msgspec.json.decode(reply.body, type=QuoteAnswer)
    assert (found.hold_nanos, found.minimum_hold_nanos) == (
        admission.amount_nanos,
        admission.minimum_nanos,
    )
    assert found.most.cost_nanos == sum(part.cost_nanos for part in found.most.components)
    assert found.most.cost_nanos == admission.amount_nanos
    assert found.likely.cost_nanos == sum(part.cost_nanos for part in found.likely.components)
    assert 0 < found.likely.cost_nanos <= found.most.cost_nanos
    assert found.likely.requests == 10
    assert reply.headers["x-request-id"]


@in_loop
async def test_a_maximum_cost_lowers_the_quote_as_it_lowers_the_request() -> None:
    async with World(answer(completion())) as world:
        headers = {"x-max-cost": "0.002"}
        reply = await world.post(body(), "/v1/chat/completions/quote", headers=headers)
        await world.post(body(), headers=headers)
    found = msgspec.json.decode(reply.body, type=QuoteAnswer)
    assert found.hold_nanos == found.most.cost_nanos == world.gate.admissions[0].amount_nanos
    assert found.most.cost_nanos <= 2_000_000
    assert found.max_tokens == world.upstream.calls[0]["max_tokens"]


@in_loop
async def test_the_likely_cost_is_that_of_the_keys_other_answers() -> None:
    async with World(answer(completion())) as world:
        reply = (await world.post(body("x" * 400), "/v1/chat/completions/quote")).json
    parts = {part["component"]: part["quantity"] for part in reply["likely"]["components"]}
    assert reply["prompt_tokens"]["likely"] == 104
    assert parts == {"input": 104 - 62, "cached_input": 62, "output": 50}


@in_loop
async def test_a_tiered_price_is_quoted_at_the_tier_that_costs_most() -> None:
    prices = Prices(
        version_id=1,
        effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        input_nanos_per_million=10**9,
        output_nanos_per_million=10**9,
        context_tiers=(ContextTier(50, {"output": 10**10}),),
    )
    async with World(answer(completion()), prices=(prices,)) as world:
        asked = body("x" * 400, max_tokens=100)
        found = (await world.post(asked, "/v1/chat/completions/quote")).json
        await world.post(asked)
    assert found["most"]["cost_nanos"] == world.gate.admissions[0].amount_nanos
    assert found["most"]["components"][1]["cost_nanos"] == 100 * 10**10 // 10**6


@in_loop
async def test_what_the_request_would_be_refused_for_refuses_the_quote() -> None:
    async with World(answer(completion())) as world:
        unknown = await world.post(body(model="gpt-0"), "/v1/chat/completions/quote")
        invalid = await world.post(body(max_tokens=-1), "/v1/chat/completions/quote")
        odd = await world.post(body(service_tier="flex"), "/v1/chat/completions/quote")
        path, wrong = "/v1/chat/completions/quote", {"authorization": "Bearer x"}
        stranger = await world.post(body(), path, headers=wrong)
    assert (unknown.status, unknown.json["error"]["code"]) == (404, "model_not_found")
    assert (invalid.status, invalid.json["error"]["param"]) == (400, "max_tokens")
    assert (odd.status, odd.json["error"]["param"]) == (400, "service_tier")
    assert stranger.status == 401


def test_every_paid_operation_has_a_quote_and_no_other() -> None:
    paid = {each.name for each in OPERATIONS.values() if 402 in each.errors}
    assert paid == {each.name for each in QUOTED}
    assert {f"{name}_quote" for name in paid} <= OPERATIONS.keys()
