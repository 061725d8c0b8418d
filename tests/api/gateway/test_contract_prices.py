"""A team's contract price: held for, charged and listed; nobody else's price changes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import structs

from api.catalogue.snapshot import ServiceEntry, Snapshot
from billing.pricing.contracts import Contract
from billing.pricing.rates import Costs, Prices
from tests.api.gateway.upstream import answer, chunk, completion, stream
from tests.api.gateway.world import World, in_loop

OUR_TEAM = 3  # that of the fake ledger's keys
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def contract(**fields: Any) -> Contract:
    known = {
        "id": 9,
        "team_id": OUR_TEAM,
        "product_id": None,
        "starts_at": LONG_AGO,
        "ends_at": None,
        "factor_millionths": 500_000,
    }
    return msgspec.convert({**known, **fields}, Contract)


class UnderContract(World):
    """The relay of a service with contracts."""

    contracts: tuple[Contract, ...] = (contract(),)
    service = ServiceEntry()

    def snapshot(self, version: int = 1, **model: Any) -> Snapshot:
        listed = super().snapshot(version, product_id=5, **model)
        return structs.replace(listed, contracts=self.contracts, service=self.service)


def factors(world: World) -> list[tuple[int, int]]:
    """Return the factor and the contract of each line that was settled."""
    return [line[5:6] + line[8:] for line in world.gate.only.lines]


@in_loop
async def test_a_teams_hold_and_charge_are_at_its_contract_price() -> None:
    async with World(answer(completion())) as world:
        assert (await world.chat(max_tokens=100)).status == 200
        listed = world.gate
    async with UnderContract(answer(completion())) as world:
        assert (await world.chat(max_tokens=100)).status == 200
        ours = world.gate
    assert ours.admissions[0].amount_nanos * 2 == pytest.approx(
        listed.admissions[0].amount_nanos, abs=4
    )
    # 500 of input at $0.70 and 1,000 of output at $2.50 per million, halved.
    assert (ours.only.input_nanos, ours.only.output_nanos) == (175_000, 1_250_000)
    assert factors(world) == [(500_000, 9), (500_000, 9)]
    assert ours.only.price_version_id == listed.only.price_version_id


@in_loop
async def test_another_team_pays_the_list_price() -> None:
    async with UnderContract(answer(completion())) as world:
        world.contracts = (contract(team_id=OUR_TEAM + 1),)
        world.gateway.catalogue.current = world.snapshot()
        await world.chat()
    assert world.gate.only.input_nanos == 350_000
    assert [len(line) for line in world.gate.only.lines] == [5, 5]


@in_loop
async def test_a_key_is_identified_once_for_a_process_and_never_without_contracts() -> None:
    async with UnderContract(*[answer(completion())] * 3) as world:
        for _ in range(3):
            assert (await world.chat()).status == 200
        assert (world.gate.identified, len(world.gate.admissions)) == (1, 3)
    assert {each.lines[0][8] for each in world.gate.settlements} == {9}
    async with World(answer(completion())) as world:
        await world.chat()
        assert world.gate.identified == 0


@in_loop
async def test_a_contract_that_was_just_set_applies_to_the_next_request() -> None:
    async with UnderContract(answer(completion())) as world:
        world.gateway.catalogue.current = structs.replace(world.snapshot(), contracts=())
        world.gate.catalogue_version = 2  # the ledger knows of the contract, this process not yet
        assert (await world.chat()).status == 200
    assert [each.catalogue_version for each in world.gate.admissions] == [1, 2]
    assert world.gate.identified == 0  # the first answer named the team
    assert factors(world) == [(500_000, 9), (500_000, 9)]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_the_price_at_admission_is_charged_whatever_happens_meanwhile(is_streamed: bool) -> None:
    @in_loop
    async def run() -> None:
        usage = {"prompt_tokens": 500, "completion_tokens": 1000, "total_tokens": 1500}
        script = (
            stream(chunk("Hi"), chunk(usage=usage, choices=[]))
            if is_streamed
            else answer(completion())
        )
        async with UnderContract(script) as world:
            admit = world.gate.admit

            async def admit_then_end(admission: Any) -> Any:
                result = await admit(admission)
                world.contracts = ()
                world.gateway.catalogue.current = world.snapshot(2)
                return result

            world.gate.admit = admit_then_end  # type: ignore[method-assign]
            assert (await world.chat(stream=is_streamed)).status == 200
        assert world.gate.only.lines[0][5:9] == (500_000, 0, "", 9)

    run()


@in_loop
async def test_an_unknown_key_and_a_ledger_that_is_away_are_refused_as_ever() -> None:
    async with UnderContract() as world:
        world.gate.key_code = "invalid_api_key"
        assert (await world.chat()).status == 401
        world.gate.key_code = "identified"
        world.gate.is_away = True
        assert (await world.chat()).status == 503
    assert (world.gate.admissions, world.gate.settlements) == ([], [])


@in_loop
async def test_a_contract_price_below_cost_is_refused_where_the_service_refuses_losses() -> None:
    costs = Costs(
        version_id=1,
        effective_from=LONG_AGO,
        input_nanos_per_million=600_000_000,
        cached_input_nanos_per_million=60_000_000,
        output_nanos_per_million=1_000_000_000,
        reasoning_nanos_per_million=1_000_000_000,
    )
    async with UnderContract(answer(completion()), costs=(costs,)) as world:
        world.service = ServiceEntry(refuses_below_cost=True)
        world.gateway.catalogue.current = world.snapshot()
        assert (await world.chat()).status == 503
        assert world.gate.admissions == []
        world.contracts = (contract(factor_millionths=900_000),)
        world.gateway.catalogue.current = world.snapshot()
        assert (await world.chat()).status == 200


@in_loop
async def test_the_models_list_has_the_teams_prices() -> None:
    own = Prices(
        version_id=9,
        effective_from=LONG_AGO,
        input_nanos_per_million=100_000_000,
        cached_input_nanos_per_million=100_000_000,
        output_nanos_per_million=200_000_000,
        reasoning_nanos_per_million=200_000_000,
    )
    async with UnderContract() as world:
        world.contracts = (contract(product_id=5, factor_millionths=1_000_000, rates=own),)
        world.gateway.catalogue.current = world.snapshot()
        listed = await world.post(b"", "/v1/models", method="GET")
        one = await world.post(b"", "/v1/models/other-name", method="GET")
    pricing = {"prompt": "0.0000001", "completion": "0.0000002"}
    assert [each["pricing"] for each in listed.json["data"]] == [pricing]
    assert one.json["pricing"] == pricing


def test_a_contract_that_has_ended_or_not_begun_leaves_the_model_as_it_is() -> None:
    now = datetime.now(UTC)
    world = UnderContract()
    world._routes = lambda: ()  # type: ignore[method-assign]
    world.contracts = (
        contract(id=1, ends_at=now - timedelta(minutes=1)),
        contract(id=2, starts_at=now + timedelta(minutes=1)),
    )
    snapshot = world.snapshot()
    _, listed = snapshot.find_priced("public-model", now)
    model, ours = snapshot.for_team(OUR_TEAM).find_priced("other-name", now)
    assert ours is not None
    assert listed is not None
    assert model is not None
    assert (ours.contract, ours.terms) == (0, listed.terms)
    later = model.price_at(now + timedelta(minutes=2))
    assert later is not None
    assert later.contract == 2
    assert snapshot.for_team(OUR_TEAM).find("unknown") is None
    assert snapshot.for_team(77) is snapshot
