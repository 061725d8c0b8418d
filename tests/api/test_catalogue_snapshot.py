"""The relay's snapshot: what it holds of the rows, and how a process renews it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from django.utils import timezone

from api.catalogue.current import Catalogue
from api.catalogue.snapshot import (
    EMPTY,
    ModelEntry,
    RouteEntry,
    ServiceEntry,
    Snapshot,
    load_snapshot,
)
from api.models import Model, ModelAlias, Route, RouteCost, Service, Upstream
from billing.models import PriceVersion, Product
from billing.pricing.rates import Costs, Prices


def make_model(name: str, **columns: Any) -> Model:
    product = Product.objects.create(sku=name)
    return Model.objects.create(name=name, product=product, **columns)


def add_price(model: Model, effective_from: datetime, **figures: int) -> PriceVersion:
    return PriceVersion.objects.create(
        product=model.product, effective_from=effective_from, **figures
    )


def add_route(model: Model, upstream: Upstream, name: str, **columns: Any) -> Route:
    return Route.objects.create(model=model, upstream=upstream, upstream_model=name, **columns)


def entry_of(name: str) -> ModelEntry:
    entry = load_snapshot().find(name)
    assert entry is not None
    return entry


@pytest.mark.django_db
def test_an_empty_database_is_an_empty_snapshot() -> None:
    snapshot = load_snapshot()
    assert (snapshot.ordered, snapshot.models, snapshot.service) == ((), {}, ServiceEntry())
    assert snapshot.version >= 1


@pytest.mark.django_db
def test_the_entry_has_the_rows_columns_and_what_follows_from_them() -> None:
    model = make_model(
        "vendor/alpha",
        kind="chat",
        features=["tools", "reasoning"],
        refused_parameters=["n", "plugins.web+response_format.json_schema"],
        default_temperature=0.7,
        created_at=datetime(2023, 11, 14, 22, 13, 20, 900_000, tzinfo=UTC),
    )
    ModelAlias.objects.create(name="a", model=model)
    Service.objects.create(name="Shop", is_open=False)
    snapshot = load_snapshot()
    entry = snapshot.models["vendor/alpha"]
    assert entry is snapshot.find("a")
    assert snapshot.find("b") is None
    assert (snapshot.service.name, snapshot.service.is_open) == ("Shop", False)
    assert (entry.id, entry.created, entry.default_temperature) == (model.pk, 1_700_000_000, 0.7)
    assert entry.features == {"tools", "reasoning"}
    assert entry.aliases == ("a",)


@pytest.mark.django_db
def test_a21_a_rule_refuses_the_request_that_shows_all_of_its_parts() -> None:
    make_model("alpha", refused_parameters=["n", "plugins.web+response_format.json_schema"])
    entry = entry_of("alpha")
    assert entry.refused_by(set()) is None
    assert entry.refused_by({"tools", "plugins", "plugins.web"}) is None
    assert entry.refused_by({"n", "tools"}) == "n"
    shown = {"plugins", "plugins.web", "response_format", "response_format.json_schema"}
    assert entry.refused_by(shown) == "plugins.web+response_format.json_schema"


@pytest.mark.django_db
def test_a_row_allows_a_parameter_or_one_variant_of_it() -> None:
    make_model("alpha", allowed_parameters=["service_tier", "plugins.web"])
    make_model("beta", allowed_parameters=["plugins"])
    make_model("gamma")
    alpha, beta, gamma = entry_of("alpha"), entry_of("beta"), entry_of("gamma")
    names = ("service_tier", "plugins.web", "plugins.other", "models")
    assert [alpha.allows(name) for name in names] == [True, True, False, False]
    assert [beta.allows(name) for name in names] == [False, True, True, False]
    assert not any(map(gamma.allows, names))


def switches_of(route: RouteEntry) -> tuple[str, bool, bool, bool, bool, bool]:
    return (
        route.max_tokens_field,
        route.takes_stream_options,
        route.takes_temperature,
        route.takes_developer_role,
        route.passes_unknown_fields,
        route.streams_plain_answers,
    )


@pytest.mark.django_db
def test_routes_are_in_the_order_to_try_and_only_those_switched_on() -> None:
    model = make_model("alpha")
    maker = Upstream.objects.create(name="maker", base_url="http://m/v1", max_concurrency=7)
    closed = Upstream.objects.create(name="closed", base_url="http://c/v1", is_enabled=False)
    add_route(model, maker, "late", priority=2)
    add_route(model, maker, "light", priority=1, weight=1)
    add_route(
        model,
        maker,
        "heavy",
        priority=1,
        weight=5,
        reasoning_dialect="think",
        max_tokens_field="max_completion_tokens",
        takes_stream_options=False,
        takes_temperature=False,
        takes_developer_role=False,
        passes_unknown_fields=True,
        streams_plain_answers=True,
    )
    add_route(model, maker, "off", is_enabled=False)
    add_route(model, closed, "closed")
    routes = entry_of("alpha").routes
    assert [route.upstream_model for route in routes] == ["heavy", "light", "late"]
    assert routes[0].reasoning_dialect == "think"
    assert switches_of(routes[0]) == ("max_completion_tokens", False, False, False, True, True)
    assert switches_of(routes[1]) == ("max_tokens", True, True, True, False, False)
    assert (routes[0].upstream.name, routes[0].upstream.max_concurrency) == ("maker", 7)


@pytest.mark.django_db
def test_disabled_models_are_not_there_and_the_others_are_in_their_places() -> None:
    for position, name in enumerate(["zeta", "beta", "alpha"]):
        make_model(name, position=position, is_coding=name == "beta")
    make_model("picture", position=1, kind="image")
    make_model("gone", is_enabled=False)
    snapshot = load_snapshot()

    def names(**only: Any) -> list[str]:
        return [entry.name for entry in snapshot.public_models(**only)]

    assert names() == ["zeta", "beta", "picture", "alpha"]
    assert names(coding_only=True) == ["beta"]
    assert names(kind="image") == ["picture"]
    assert snapshot.find("gone") is None


@pytest.mark.django_db
def test_prices_in_force_follow_the_time_and_those_long_gone_are_left_out() -> None:
    model, now = make_model("alpha"), timezone.now()
    assert entry_of("alpha").price_at(now) is None
    for days, price in ((-90, 1), (-30, 2), (-0.5, 3), (2, 4)):
        add_price(model, now + timedelta(days=days), input_nanos_per_million=price)
    entry = entry_of("alpha")
    assert [prices.input_nanos_per_million for prices in entry.prices] == [4, 3, 2]

    def input_price(days: float) -> int:
        prices = entry.price_at(now + timedelta(days=days))
        assert prices is not None
        return prices.input_nanos_per_million

    # A clock behind the database's by hours still finds the price of its own now.
    assert [input_price(days) for days in (-0.6, -0.5, 0, 1.9, 2)] == [2, 3, 3, 3, 4]


@pytest.mark.django_db
def test_prices_left_empty_are_those_of_input_and_output_for_costs_as_well() -> None:
    model, now = make_model("alpha"), timezone.now()
    add_price(
        model,
        now,
        input_nanos_per_million=10,
        output_nanos_per_million=20,
    )
    upstream = Upstream.objects.create(name="costly", base_url="http://127.0.0.1/v1")
    route = Route.objects.create(model=model, upstream=upstream, upstream_model="a")
    cost = RouteCost.objects.create(
        route=route,
        effective_from=now,
        input_nanos_per_million=1,
        cached_input_nanos_per_million=0,
        output_nanos_per_million=2,
        image_nanos=3,
    )
    version = PriceVersion.objects.get()
    assert entry_of("alpha").price_at(now) == Prices(
        version_id=version.pk,
        effective_from=version.effective_from,
        input_nanos_per_million=10,
        cached_input_nanos_per_million=10,
        output_nanos_per_million=20,
        reasoning_nanos_per_million=20,
    )
    entry = next(each for each in entry_of("alpha").routes if each.id == route.pk)
    assert entry.costs_at(now) == Costs(
        version_id=cost.pk,
        effective_from=cost.effective_from,
        input_nanos_per_million=1,
        cached_input_nanos_per_million=0,
        output_nanos_per_million=2,
        reasoning_nanos_per_million=2,
        image_nanos=3,
    )
    assert entry.costs_at(now - timedelta(seconds=1)) is None


@pytest.mark.django_db
def test_a27_a_listing_answers_an_alias_under_the_alias() -> None:
    model, now = make_model("alpha"), timezone.now()
    add_price(model, now, input_nanos_per_million=475_000_000)
    entry = entry_of("alpha")
    assert entry.listing(now)["id"] == "alpha"
    assert entry.listing(now, name="a")["id"] == "a"
    assert entry.listing(now)["pricing"] == {"prompt": "0.000000475", "completion": "0"}
    assert entry.listing(now - timedelta(days=1))["pricing"] == {}


# The holder


def snapshot_of(version: int) -> Snapshot:
    return Snapshot(version=version, service=ServiceEntry(), ordered=())


class Database:
    """Answers reads with its version, each after a turn of the loop, and counts them."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.reads = 0
        self.failure: Exception | None = None

    async def read(self) -> Snapshot:
        self.reads += 1
        snapshot = snapshot_of(self.version)
        await asyncio.sleep(0.01)
        if self.failure:
            raise self.failure
        return snapshot


def test_many_callers_share_one_read() -> None:
    async def scenario() -> None:
        database = Database(3)
        catalogue = Catalogue(database.read)
        assert catalogue.current is EMPTY
        snapshots = await asyncio.gather(*(catalogue.refresh_to(3) for _ in range(100)))
        assert {snapshot.version for snapshot in snapshots} == {3}
        await catalogue.refresh_to(3)
        assert database.reads == 1

    asyncio.run(scenario())


def test_a_version_that_came_during_a_read_is_read_as_well() -> None:
    async def scenario() -> None:
        database = Database(3)
        catalogue = Catalogue(database.read)
        first = asyncio.create_task(catalogue.refresh_to(3))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        database.version = 4
        later = await asyncio.gather(*(catalogue.refresh_to(4) for _ in range(10)))
        assert {snapshot.version for snapshot in later} == {4}
        assert (await first).version >= 3
        assert database.reads == 2

    asyncio.run(scenario())


def test_a_version_that_went_backwards_is_followed_and_a_late_one_costs_one_read() -> None:
    async def scenario() -> None:
        database = Database(9)
        catalogue = Catalogue(database.read)
        await catalogue.refresh_to(9)
        await asyncio.gather(*(catalogue.refresh_to(8) for _ in range(10)))
        assert (catalogue.current.version, database.reads) == (9, 2)
        database.version = 2
        assert (await catalogue.refresh_to(2)).version == 2

    asyncio.run(scenario())


def test_a_failed_read_reaches_its_callers_and_the_old_snapshot_stays() -> None:
    async def scenario() -> None:
        database = Database(1)
        catalogue = Catalogue(database.read)
        await catalogue.refresh_to(1)
        database.version, database.failure = 2, psycopg.OperationalError("away")
        with pytest.raises(psycopg.OperationalError):
            await catalogue.refresh_to(2)
        assert catalogue.current.version == 1
        database.failure = None
        assert (await catalogue.refresh_to(2)).version == 2

    asyncio.run(scenario())


def test_a_caller_that_goes_away_does_not_end_the_read_of_the_others() -> None:
    async def scenario() -> None:
        database = Database(1)
        catalogue = Catalogue(database.read)
        leaver = asyncio.create_task(catalogue.refresh_to(1))
        stayer = asyncio.create_task(catalogue.refresh_to(1))
        await asyncio.sleep(0.001)
        leaver.cancel()
        assert (await stayer).version == 1
        assert database.reads == 1

    asyncio.run(scenario())


def test_a_snapshot_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        snapshot_of(1).version = 2  # type: ignore[misc]
    assert msgspec.structs.replace(snapshot_of(1), version=2).version == 2
