"""Loading a catalogue: all or nothing, twice is once, prices in use are never rewritten."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import Plan
from api.catalogue.snapshot import load_snapshot
from api.models import Model, ModelAlias, Route, RouteCost, Service, Upstream, UpstreamKey
from api.upstream_keys import store_secret
from billing.models import CatalogueVersion, PlanOffer, PriceVersion, Product

CATALOGUE = """
[service]
name = "Shop"
tagline = "Words by the million"
key_prefix = "sk-shop-"

[[plans]]
name = "basic"
title = "Basic"
requests_per_minute = 60
tokens_per_minute = 120_000
is_default = true

[[upstreams]]
name = "maker"
base_url = "http://maker:9000/v1"

[model_defaults]
created = 1_700_000_000
context_tokens = 1000
max_output_tokens = 500
routes = [{ upstream = "maker" }]

[[models]]
name = "alpha"
aliases = ["a", "first"]
prices = { input = "0.70", output = "2.50" }

[[models]]
name = "beta"
aliases = ["b"]
prices = { input = "1", cached_input = "0.1", output = "2", reasoning = "3" }
cost = { input = "0.5", output = "1" }
routes = [{ upstream = "maker" }, { upstream = "maker", upstream_model = "beta-2", priority = 1 }]
"""

Load = Callable[..., str]
pytestmark = pytest.mark.django_db


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def run(text: str = CATALOGUE, *options: str, name: str = "shop") -> str:
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        output = StringIO()
        call_command("load_catalogue", str(path), *options, stdout=output)
        return output.getvalue()

    return run


def edited(*edits: tuple[str, str], text: str = CATALOGUE) -> str:
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def version() -> int:
    return CatalogueVersion.objects.get().version


def test_a_file_fills_every_table(load: Load) -> None:
    summary = load()
    assert summary == (
        "shop.toml: loaded: services 1 added; plans 1 added, 1 changed; upstreams 1 added;"
        " models 2 added; prices 2 added; aliases 3 added; routes 3 added; costs 2 added\n"
    )
    service = Service.objects.get()
    assert (service.name, service.key_prefix, service.catalogue) == ("Shop", "sk-shop-", "shop")
    beta = Model.objects.get(name="beta")
    assert (beta.context_tokens, beta.max_output_tokens, beta.position) == (1000, 500, 1)
    assert beta.created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert beta.product.sku == "beta"
    price = PriceVersion.objects.get(product=beta.product)
    assert price.input_nanos_per_million == 1_000_000_000
    assert price.cached_input_nanos_per_million == 100_000_000
    assert price.reasoning_nanos_per_million == 3_000_000_000
    for cost in RouteCost.objects.filter(route__model=beta):
        assert (cost.input_nanos_per_million, cost.output_nanos_per_million) == (
            500_000_000,
            1_000_000_000,
        )
        assert cost.cached_input_nanos_per_million is None
    routes = beta.routes.order_by("priority").values_list("upstream_model", flat=True)
    assert list(routes) == ["beta", "beta-2"]
    assert Plan.objects.get(is_default=True).tokens_per_minute == 120_000


def test_a_second_load_changes_nothing_not_even_the_version(load: Load) -> None:
    load()
    before, snapshot = version(), load_snapshot()
    assert load() == "shop.toml: nothing to change\n"
    assert version() == before
    assert load_snapshot() == snapshot


def test_a_problem_at_the_end_loads_nothing(load: Load) -> None:
    broken = edited(('input = "1", cached', 'input = "-1", cached'))
    with pytest.raises(CommandError) as caught:
        load(broken)
    assert str(caught.value) == (
        '1 problem; nothing was loaded\n  shop.toml: models[1] "beta": prices.input: '
        '"-1" is a negative price'
    )
    assert not Model.objects.exists()
    assert not Service.objects.exists()


def test_a_problem_that_only_the_database_shows_loads_nothing_either(load: Load) -> None:
    load()
    other = edited(
        ('name = "Shop"', 'name = "Other"'),
        ('name = "alpha"', 'name = "gamma"'),
        ('aliases = ["a", "first"]', 'aliases = ["g", "alpha", "first"]'),
        ('name = "beta"\naliases = ["b"]', 'name = "a"'),
    )
    with pytest.raises(CommandError) as caught:
        load(other, name="other")
    foreign = '"alpha", a model that is not in this file'
    assert str(caught.value).splitlines()[1:] == [
        f'  other.toml: models[0] "gamma": aliases[1]: "alpha" belongs to {foreign}',
        f'  other.toml: models[0] "gamma": aliases[2]: "first" belongs to {foreign}',
        f'  other.toml: models[1] "a": name: is an alias of {foreign}',
    ]
    assert Service.objects.get().name == "Shop"
    assert set(Model.objects.values_list("name", flat=True)) == {"alpha", "beta"}


def test_replacing_disables_other_models_and_takes_over_their_names(load: Load) -> None:
    load()
    other = edited(
        ('name = "alpha"', 'name = "gamma"'),
        ('aliases = ["a", "first"]', 'aliases = ["alpha", "first"]'),
        ('name = "beta"\naliases = ["b"]', 'name = "a"'),
    )
    summary = load(other, "--replace", name="other")
    assert "models 2 added, 2 disabled" in summary
    snapshot = load_snapshot()
    assert {name: entry.name for name, entry in snapshot.models.items()} == {
        "gamma": "gamma",
        "a": "a",
        "alpha": "gamma",
        "first": "gamma",
    }
    load(CATALOGUE, "--replace")
    assert sorted(load_snapshot().models) == ["a", "alpha", "b", "beta", "first"]


def test_models_that_the_file_does_not_name_stay_without_replace(load: Load) -> None:
    load()
    only_alpha = CATALOGUE[: CATALOGUE.index('[[models]]\nname = "beta"')]
    assert load(only_alpha) == "shop.toml: nothing to change\n"
    assert Model.objects.get(name="beta").is_enabled


def test_a_dry_run_says_what_would_change_and_changes_nothing(load: Load) -> None:
    assert load(CATALOGUE, "--dry-run").startswith("shop.toml: would load: services 1 added;")
    assert not Model.objects.exists()
    load()
    before = version()
    assert "models 1 changed, 1 unchanged" in load(
        edited(('name = "alpha"', 'name = "alpha"\ntitle = "Alpha"')), "--dry-run"
    )
    assert version() == before


def test_a_stored_key_stays_until_the_file_names_another_address(load: Load) -> None:
    load()
    upstream = Upstream.objects.get()
    key, _ = UpstreamKey.objects.get_or_create(upstream=upstream)
    store_secret(key, "sk-stored", timezone.now())
    key.save()
    load()
    assert "nothing to change" in load()
    assert load_snapshot().ordered[0].routes[0].upstream.encrypted_key == key.encrypted_key
    Upstream.objects.update(base_url="http://elsewhere/v1")
    load()
    assert not UpstreamKey.objects.exclude(encrypted_key="", key_end="").exists()


def test_what_the_file_says_of_its_rows_replaces_what_staff_changed(load: Load) -> None:
    load()
    Model.objects.filter(name="alpha").update(title="Changed", is_enabled=False)
    Upstream.objects.update(base_url="http://elsewhere/v1")
    ModelAlias.objects.create(name="extra", model=Model.objects.get(name="alpha"))
    Route.objects.create(
        model=Model.objects.get(name="alpha"), upstream=Upstream.objects.get(), upstream_model="x"
    )
    Service.objects.update(is_open=False)
    summary = load()
    for change in ("upstreams 1 changed", "models 1 changed", "aliases 1 removed, 3 unchanged"):
        assert change in summary
    assert "routes 1 disabled, 3 unchanged" in summary
    assert load_snapshot().find("extra") is None
    assert not Route.objects.get(upstream_model="x").is_enabled
    assert not Service.objects.get().is_open  # the kill switch is not the file's


def test_an_alias_moves_and_names_are_exchanged_within_a_file(load: Load) -> None:
    load()
    load(edited(('aliases = ["b"]', ""), ('aliases = ["a", "first"]', 'aliases = ["b"]')))
    assert ModelAlias.objects.get().model.name == "alpha"
    load(edited(('["a", "first"]', '["c"]'), ('name = "beta"\naliases = ["b"]', 'name = "b"')))
    assert load_snapshot().models["b"].name == "b"


def test_another_default_plan_takes_the_place_of_the_former(load: Load) -> None:
    load()
    summary = load(edited(('name = "basic"', 'name = "other"')))
    assert "plans 1 added, 1 changed" in summary
    assert Plan.objects.get(is_default=True).name == "other"
    assert not Plan.objects.get(name="basic").is_default


def test_a_plan_with_an_offer_is_sold_at_its_price(load: Load) -> None:
    offer = '[[plans]]\nname = "plus"\ntitle = "Plus"\nrequests_per_minute = 90\n'
    offer += 'tokens_per_minute = 9000\noffer = { price = "20", credit = "22.50" }\n\n[[upstreams]]'
    assert "offers 1 added" in load(edited(("[[upstreams]]", offer)))
    (sold,) = PlanOffer.objects.all()
    assert (sold.plan.name, sold.price_cents, sold.credit_nanos) == ("plus", 2000, 22_500_000_000)
    PlanOffer.objects.update(is_offered=False)
    assert "nothing to change" in load(edited(("[[upstreams]]", offer)))
    assert "offers 1 changed" in load(edited(("[[upstreams]]", offer.replace('"20"', '"25"'))))
    assert not PlanOffer.objects.get().is_offered, "staff's choice stays"
    load()
    assert PlanOffer.objects.get().price_cents == 2500, "rows that the file doesn't name stay"


# Prices


def test_a_changed_price_is_a_new_version_and_the_old_one_stays(load: Load) -> None:
    load()
    old = PriceVersion.objects.get(product__sku="alpha")
    assert "prices 1 added, 1 unchanged" in load(edited(('input = "0.70"', 'input = "0.80"')))
    versions = PriceVersion.objects.filter(product__sku="alpha").order_by("effective_from")
    assert [row.input_nanos_per_million for row in versions] == [700_000_000, 800_000_000]
    assert versions[0].pk == old.pk
    assert versions[0].effective_from == old.effective_from


def test_a_changed_cost_is_a_new_version_too(load: Load) -> None:
    load()
    answer = load(edited(('"0.5"', '"0.6"')))
    assert "prices 2 unchanged" in answer
    assert "costs 2 added" in answer
    costs = RouteCost.objects.filter(route__upstream_model="beta").order_by("effective_from")
    assert [row.input_nanos_per_million for row in costs] == [500_000_000, 600_000_000]


def test_a_price_to_come_takes_effect_by_time(load: Load) -> None:
    load()
    to_come = (timezone.now() + timedelta(days=2)).replace(microsecond=0)
    dated = edited(('output = "2.50"', f'output = "5", effective_from = {to_come.isoformat()}'))
    assert "prices 1 added, 1 unchanged" in load(dated)
    assert load(dated) == "shop.toml: nothing to change\n"
    alpha = load_snapshot().models["alpha"]

    def output_at(moment: datetime) -> int:
        prices = alpha.price_at(moment)
        assert prices is not None
        return prices.output_nanos_per_million

    assert output_at(timezone.now()) == 2_500_000_000
    assert output_at(to_come - timedelta(microseconds=1)) == 2_500_000_000
    assert output_at(to_come) == 5_000_000_000
    assert alpha.listing(timezone.now())["pricing"]["completion"] == "0.0000025"
    assert alpha.listing(to_come)["pricing"]["completion"] == "0.000005"


def test_prices_of_a_moment_are_not_rewritten(load: Load) -> None:
    load()
    to_come = (timezone.now() + timedelta(days=2)).replace(microsecond=0)
    load(edited(('output = "2.50"', f'output = "5", effective_from = {to_come.isoformat()}')))
    with pytest.raises(CommandError, match=r"prices\.effective_from: other rates stand from"):
        load(edited(('output = "2.50"', f'output = "6", effective_from = {to_come.isoformat()}')))
    passed = (timezone.now() - timedelta(days=2)).isoformat()
    with pytest.raises(CommandError, match=r"has passed and other rates are in force"):
        load(edited(('output = "2.50"', f'output = "6", effective_from = {passed}')))
    assert PriceVersion.objects.filter(product__sku="alpha").count() == 2


def test_a_first_price_may_be_dated_back_and_that_file_loaded_again(load: Load) -> None:
    dated = edited(('output = "2.50"', 'output = "2.50", effective_from = 2026-01-01T00:00:00Z'))
    load(dated)
    assert load(dated) == "shop.toml: nothing to change\n"
    assert PriceVersion.objects.filter(effective_from=datetime(2026, 1, 1, tzinfo=UTC)).exists()
    assert load() == "shop.toml: nothing to change\n"


def test_a_price_that_staff_changed_is_answered_by_a_version_not_a_rewrite(load: Load) -> None:
    load()
    product = Product.objects.get(sku="alpha")
    PriceVersion.objects.create(
        product=product,
        effective_from=timezone.now() - timedelta(microseconds=1),
        input_nanos_per_million=1,
        output_nanos_per_million=2,
    )
    # The staff's version may be a moment older than the file's, which then is in force.
    PriceVersion.objects.filter(product=product).exclude(input_nanos_per_million=1).update(
        effective_from=timezone.now() - timedelta(days=1)
    )
    assert "prices 1 added, 1 unchanged" in load()
    assert PriceVersion.objects.filter(product=product).count() == 3
