"""Tiers and factors from the catalogue file and the admin to the proof, the pages and the lists."""

import re
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from api.catalogue.snapshot import ModelEntry, load_snapshot
from api.models import RouteCost
from billing.models import CreditAccount, PriceVersion, Product, UsageRecord
from billing.pricing.charge import AttemptCost, Usage, charge_and_cost, quote
from billing.pricing.rates import Costs, Prices
from portal.ui.prices import price_list
from portal.ui.worked_cost import worked_cost
from tests.billing.conftest import broken_invariants
from tests.cast import IssuedKey, signed_in
from tests.config.price_pages import add_url, price_form, publish
from tests.portal.serving import customer_of, serve

pytestmark = pytest.mark.django_db

CATALOGUE = """
[service]
name = "Shop"

[[upstreams]]
name = "maker"
base_url = "http://maker:9000/v1"

[[models]]
name = "alpha"
context_tokens = 1_000_000
max_output_tokens = 2_000
routes = [{ upstream = "maker" }]

[models.prices]
input = "1.25"
cached_input = "0.125"
output = "10"
factor = "0.8"
service_tiers = { priority = "1.75" }
context_tiers = [
  { above_input_tokens = 400_000, output = "20", cache_write = "3" },
  { above_input_tokens = 200_000, input = "2.50", output = "15" },
]

[models.cost]
input = "1"
output = "8"
factor = "0.5"
service_tiers = { priority = "2" }
context_tiers = [{ above_input_tokens = 200_000, input = "2" }]
"""
USED = Usage(input_tokens=200_001, cached_tokens=1, output_tokens=3)
# 0.8 x 1.75 is 1.4: 200,000 x 2,500 x 1.4; 1 x 125 x 1.4; 3 x 15,000 x 1.4.
LINES = [
    ("input", 200_000, 2_500_000_000, 1_000_000, 700_000_000, 1_400_000, 200_000, "priority"),
    ("cached_input", 1, 125_000_000, 1_000_000, 175, 1_400_000, 200_000, "priority"),
    ("output", 3, 15_000_000_000, 1_000_000, 63_000, 1_400_000, 200_000, "priority"),
]
TOTAL_NANOS = 700_063_175


def load(folder: Path, text: str = CATALOGUE) -> None:
    path = folder / "shop.toml"
    path.write_text(text)
    call_command("load_catalogue", str(path), stdout=StringIO())


@pytest.fixture
def model(tmp_path: Path) -> ModelEntry:
    load(tmp_path)
    return load_snapshot().models["alpha"]


@pytest.fixture
def prices(model: ModelEntry) -> Prices:
    found = model.price_at(timezone.now())
    assert found is not None
    return found


@pytest.fixture
def costs(model: ModelEntry) -> Costs:
    found = model.routes[0].costs_at(timezone.now())
    assert found is not None
    return found


@pytest.fixture
def record(
    alices_account: CreditAccount, alices_key: IssuedKey, prices: Prices, costs: Costs
) -> UsageRecord:
    """A long request at the service tier that was settled."""
    customer = customer_of(alices_account, alices_key, 5_000_000_000)
    held = prices.at_service_tier("priority")
    charge, cost = charge_and_cost(held, costs, USED)
    amounts = msgspec.structs.asdict(charge)
    assert amounts.pop("total_nanos") == TOTAL_NANOS
    return serve(
        customer,
        hold_nanos=quote(held, input_tokens_max=210_000, output_tokens_max=10),
        model="alpha",
        price_version_id=prices.version_id,
        input_tokens=USED.input_tokens,
        cached_tokens=USED.cached_tokens,
        output_tokens=USED.output_tokens,
        source="upstream",
        upstream_cost_nanos=cost.total_nanos,
        cost_lines=[AttemptCost("maker", costs.version_id, cost.total_nanos, cost.lines)],
        **amounts,
    )


def test_the_file_states_tiers_and_factors(prices: Prices, costs: Costs) -> None:
    version = PriceVersion.objects.get(pk=prices.version_id)
    assert version.factor_millionths == 800_000
    assert version.service_tiers == {"priority": 1_750_000}
    assert version.context_tiers == [
        {
            "above_input_tokens": 200_000,
            "rates": {"input": 2_500_000_000, "output": 15_000_000_000},
        },
        {
            "above_input_tokens": 400_000,
            "rates": {"output": 20_000_000_000, "cache_write": 3_000_000_000},
        },
    ]
    cost = RouteCost.objects.get(pk=costs.version_id)
    assert cost.factor_millionths == 500_000
    assert cost.service_tiers == {"priority": 2_000_000}
    assert cost.context_tiers == [
        {"above_input_tokens": 200_000, "rates": {"input": 2_000_000_000}}
    ]
    assert costs.steps == cost.rates.steps
    cost.full_clean()
    # What the relay reads is what pages work with.
    rates = version.rates
    assert (prices.steps, prices.bounds) == (rates.steps, rates.bounds)
    version.full_clean()


def test_only_other_tiers_are_a_new_version(tmp_path: Path, model: ModelEntry) -> None:
    versions = PriceVersion.objects.filter(product__sku="alpha")
    load(tmp_path)
    assert versions.count() == 1
    for old, new in (('"0.8"', '"0.9"'), ('"2.50"', '"2.60"'), ('"1.75"', '"2"')):
        load(tmp_path, CATALOGUE.replace(old, new))
    assert versions.count() == 4


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('factor = "0.8"', "factor = 0.8", 'prices.factor: 0.8 must be a text, such as "1.75"'),
        ('factor = "0.8"', 'factor = "0"', "prices.factor: "),
        ('factor = "0.8"', 'factor = "0.1234567"', "prices.factor: "),
        ('factor = "0.8"', 'factor = "-1"', "prices.factor: "),
        (
            'factor = "0.8"',
            'factor = "0.800001"',
            "priority: The factor of 'priority' times the price's own has more than six decimals.",
        ),
        ("priority =", "standard =", "prices.service_tiers.standard: 'standard' is not the name"),
        ('input = "2.50"', 'inputs = "2.50"', "prices.context_tiers[1].inputs: is not a key"),
        ('input = "2.50"', 'input = "-1"', 'context_tiers[1].input: "-1" is a negative price'),
        ("above_input_tokens = 200_000, input", "input", "above_input_tokens: is missing"),
        ("400_000", "200_000", "context_tiers[1]: 200000 tokens are another tier's already"),
        (', output = "20", cache_write = "3"', "", "prices.context_tiers[0]: has no price"),
        ("context_tiers = [{ above", "context_tiers = 3 #", "cost.context_tiers: 3 is not a list"),
        ('= { priority = "2" }', "= 3", "cost.service_tiers: 3 is not a table"),
    ],
)
def test_a_slip_in_the_file_is_named(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(CommandError) as error:
        load(tmp_path, CATALOGUE.replace(old, new, 1))
    assert problem in str(error.value)


def test_a_charge_is_settled_with_its_factor_and_tiers_and_proved(record: UsageRecord) -> None:
    assert [tuple(line) for line in record.lines] == LINES
    assert (record.cost_nanos, record.charged_nanos) == (TOTAL_NANOS, TOTAL_NANOS)
    assert record.reserved_nanos >= TOTAL_NANOS
    # The cost has tiers of its own: (200,001 x 2,000 + 3 x 8,000) x 0.5 x 2.
    assert record.upstream_cost_nanos == 400_002_000 + 24_000
    assert broken_invariants() == {}


def test_the_requests_page_prints_factor_and_tiers(record: UsageRecord, alice: User) -> None:
    page = _page(alice, record)
    for text in (
        "$2.50 per million",
        '<span class="nowrap">\N{MULTIPLICATION SIGN} 1.4</span>',
        "above 200,000 input tokens, service tier priority",
        "$0.700063175",
        "Verified: each line below was recomputed",
    ):
        assert text in page


@pytest.mark.parametrize(
    ("place", "value"), [(4, 63_001), (5, 1_300_000), (6, 0), (6, 400_000), (7, ""), (7, "flex")]
)
def test_the_requests_page_says_that_a_line_was_changed(
    record: UsageRecord, alice: User, place: int, value: Any
) -> None:
    record.lines[2][place] = value
    UsageRecord.objects.filter(pk=record.pk).update(lines=record.lines)
    assert "This charge could not be confirmed." in _page(alice, record)


def _page(user: User, record: UsageRecord) -> str:
    answer = signed_in(user).get(f"/usage/requests/{record.pk}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_models_list_shows_tiers_beside_prices(model: ModelEntry) -> None:
    assert model.listing(timezone.now())["pricing"] == {
        "prompt": "0.000001",
        "completion": "0.000008",
        "input_cache_read": "0.0000001",
        "context_tiers": [
            {
                "above_input_tokens": 200_000,
                "prompt": "0.000002",
                "completion": "0.000012",
                "input_cache_read": "0.0000001",
            },
            {
                "above_input_tokens": 400_000,
                "prompt": "0.000002",
                "completion": "0.000016",
                "input_cache_read": "0.0000001",
                "cache_write": "0.0000024",
            },
        ],
        "service_tiers": {"priority": "1.75"},
    }


def test_price_lists_show_tiers_beside_prices(client: Client, model: ModelEntry) -> None:
    (line,) = price_list(load_snapshot())
    assert (line.input_price, line.cached_price, line.output_price) == ("$1.00", "$0.10", "$8.00")
    each = "per million"
    written = f"input tokens written to the cache $2.40 {each}"
    assert line.tiers == (
        f"Above 200,000 input tokens: input tokens $2.00 {each}, output tokens $12.00 {each}",
        f"Above 400,000 input tokens: {written}, output tokens $16.00 {each}",
        "Service tier priority: all prices times 1.75",
    )
    html = client.get("/").content.decode()
    assert all(text in html for text in line.tiers)
    assert "Price depends on input length" in client.get("/docs/models").content.decode()


def test_a_models_page_has_a_column_for_each_tier(client: Client, model: ModelEntry) -> None:
    html = client.get(f"/docs/models/{model.name}").content.decode()
    headings = re.findall(r'<th scope="col" class="number">(.*?)</th>', html)
    assert headings == ["Up to 200,000 input tokens", "Above 200,000", "Above 400,000"]
    assert "<code>priority</code> \N{MULTIPLICATION SIGN} 1.75" in html
    rows = {
        title: re.findall(r'<td class="number">(.*?)</td>', row)
        for title, row in re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', html, re.S)
    }
    assert rows == {
        "Input tokens": ["$1.00", "$2.00", "$2.00"],
        "Cached input tokens": ["$0.10", "$0.10", "$0.10"],
        "Input tokens written to the cache": ["$1.00", "$2.00", "$2.40"],
        "Output tokens": ["$8.00", "$12.00", "$16.00"],
    }


def test_a_worked_example_says_the_factor(prices: Prices, model: ModelEntry) -> None:
    example = worked_cost(model, prices)
    assert [line.factor for line in example.lines] == ["0.8", "0.8"]
    assert sum(line.amount_nanos for line in example.lines) == example.charged_nanos
    assert example.charged_nanos <= example.held_nanos


def test_the_admin_takes_and_shows_them(staff: Client) -> None:
    product = Product.objects.create(sku="new")
    form = price_form(
        factor_millionths="0.8275",
        context_tiers="400,000: output $20\n200000: input 2.50, output 15",
        service_tiers="priority 1.75\nflex 0.5\n",
    )
    add = add_url(product)
    for field, wrong in (
        ("factor_millionths", "0"),
        ("factor_millionths", "1,5"),
        ("context_tiers", "input 5"),
        ("context_tiers", "10: inputs 5"),
        ("context_tiers", "10: input five"),
        ("context_tiers", "10: input 5\n10: input 6"),
        ("service_tiers", "priority"),
        ("service_tiers", "default 2"),
        ("service_tiers", "priority 1.7501"),  # times 0.8275 has more than six decimals
        ("service_tiers", "priority 0"),
    ):
        response = publish(staff, add, form | {field: wrong})
        assert response.status_code == 200, wrong
        assert field in response.context["form"].errors, wrong
    response = publish(staff, add, form)
    assert response.status_code == 302, response.context["form"].errors
    version = product.price_versions.get()
    assert version.factor_millionths == 827_500
    assert version.service_tiers == {"priority": 1_750_000, "flex": 500_000}
    assert [tier["above_input_tokens"] for tier in version.context_tiers] == [200_000, 400_000]
    assert version.context_tiers[0]["rates"] == {"input": 2_500_000_000, "output": 15_000_000_000}

    page = reverse("admin:billing_priceversion_change", args=[version.pk])
    html = staff.get(page).content.decode()
    assert "200,000: input 2.5, output 15\n400,000: output 20" in html
    assert 'value="0.8275"' in html
    version.effective_from = timezone.now()
    version.save()
    shown = "Factor 0.8275; above 200,000: input 2.5, output 15; above 400,000: output 20"
    assert f"{shown}; service tier flex 0.5; service tier priority 1.75" in (
        staff.get(page).content.decode()
    )


def test_the_admin_shows_the_lines_of_a_charge(staff: Client, record: UsageRecord) -> None:
    page = staff.get(reverse("admin:billing_usagerecord_change", args=[record.pk]))
    text = page.content.decode()
    assert "above 200,000 input tokens, service tier priority" in text
    assert re.search(r"per million</span> <span class=\"nowrap\">\S 1\.4</span>", text)
    assert "$0.000063000" in text


@pytest.mark.parametrize(
    "tiers",
    [
        {},
        [5],
        [{"above_input_tokens": 5}],
        [{"above_input_tokens": 0, "rates": {"input": 1}}],
        [{"above_input_tokens": 5, "rates": {}}],
        [{"above_input_tokens": 5, "rates": {"nothing": 1}}],
        [{"above_input_tokens": 5, "rates": {"input": -1}}],
        [{"above_input_tokens": 5, "rates": {"input": 1}}] * 2,
    ],
)
def test_context_tiers_that_price_nothing_are_refused(tiers: Any) -> None:
    version = PriceVersion(product=Product.objects.create(sku="new"), effective_from=timezone.now())
    version.context_tiers = tiers
    with pytest.raises(ValidationError, match=r"tier|component|rate") as error:
        version.full_clean()
    assert "context_tiers" in error.value.message_dict
