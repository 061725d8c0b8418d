"""The seam of pricing: a component that is added to the table is everything that others are.

It can be priced by the catalogue file and in the admin, is held for and charged, has a line that
`check_ledger` proves, and shows on the request's page, in the models list and in price lists.
"""

from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

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
from billing.pricing.charge import AttemptCost, Usage, charge_and_cost, charge_of, quote
from billing.pricing.components import COMPONENTS, Component
from billing.pricing.money import PER_MILLION
from billing.pricing.rates import Costs, Prices
from portal.ui.prices import price_list
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, signed_in
from tests.config.price_pages import add_url, price_form, publish
from tests.portal.serving import customer_of, serve

pytestmark = pytest.mark.django_db

SEARCH = Component(name="toy_search", singular="toy search", plural="toy searches")
WRITE = Component(
    name="toy_write",
    singular="toy cache write",
    plural="toy cache writes",
    per=PER_MILLION,
    part_of="input",
    summary="input_nanos",
)
CATALOGUE = """
[service]
name = "Shop"

[[upstreams]]
name = "maker"
base_url = "http://maker:9000/v1"

[[models]]
name = "alpha"
context_tokens = 1000
max_output_tokens = 500
prices = { input = "0.70", output = "2.50", toy_search = "0.002", toy_write = "0.875" }
cost = { input = "0.50", output = "2", toy_search = "0.001" }
routes = [{ upstream = "maker" }]
"""
# 100 x 0.70 + 60 x 0.875 + 20 x 2.50 millionths of a dollar, and 3 x 0.002 dollars.
USED = Usage(input_tokens=160, output_tokens=20, units={"toy_search": 3, "toy_write": 60})
LINES = [
    ("input", 100, 700_000_000, 1_000_000, 70_000),
    ("output", 20, 2_500_000_000, 1_000_000, 50_000),
    ("toy_search", 3, 2_000_000, 1, 6_000_000),
    ("toy_write", 60, 875_000_000, 1_000_000, 52_500),
]
TOTAL_NANOS = 6_172_500


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    """Two lines more in the table: one is counted, one is a part of the input."""
    with pytest.MonkeyPatch.context() as patch:
        for toy in (SEARCH, WRITE):
            patch.setitem(COMPONENTS, toy.name, toy)
        yield


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
    """A request that was settled with all components."""
    customer: Customer = customer_of(alices_account, alices_key, 10_000_000)
    charge, cost = charge_and_cost(prices, costs, USED)
    amounts = msgspec.structs.asdict(charge)
    assert amounts.pop("total_nanos") == TOTAL_NANOS
    return serve(
        customer,
        hold_nanos=quote(
            prices, input_tokens_max=160, output_tokens_max=20, units={"toy_search": 3}
        ),
        model="alpha",
        price_version_id=prices.version_id,
        input_tokens=USED.input_tokens,
        output_tokens=USED.output_tokens,
        source="upstream",
        upstream_cost_nanos=cost.total_nanos,
        cost_lines=[AttemptCost("maker", costs.version_id, cost.total_nanos, cost.lines)],
        **amounts,
    )


def test_the_catalogue_file_prices_it(prices: Prices, costs: Costs) -> None:
    version = PriceVersion.objects.get(pk=prices.version_id)
    assert version.extra_rates == {"toy_search": 2_000_000, "toy_write": 875_000_000}
    cost = RouteCost.objects.get(pk=costs.version_id)
    assert cost.extra_rates == {"toy_search": 1_000_000}
    assert prices.extra == version.extra_rates == version.rates.extra
    assert costs.extra == cost.extra_rates == cost.rates.extra


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('toy_search = "-1"', 'prices.toy_search: "-1" is a negative price'),
        ("toy_search = 1", "prices.toy_search: 1 must be a text"),
        ('toy_serach = "1"', "prices.toy_serach: is not a key of this table"),
        ('extra = "1"', "prices.extra: is not a key of this table"),
    ],
)
def test_a_slip_in_the_file_is_named(tmp_path: Path, written: str, problem: str) -> None:
    with pytest.raises(CommandError) as error:
        load(tmp_path, CATALOGUE.replace('toy_search = "0.002"', written))
    assert problem in str(error.value)


def test_a_new_rate_is_a_new_version_and_the_same_rate_is_none(
    tmp_path: Path, model: ModelEntry
) -> None:
    load(tmp_path)
    assert PriceVersion.objects.filter(product__sku="alpha").count() == 1
    load(tmp_path, CATALOGUE.replace('"0.002"', '"0.003"'))
    newest = PriceVersion.objects.filter(product__sku="alpha").first()
    assert newest is not None
    assert newest.extra_rates["toy_search"] == 3_000_000
    assert PriceVersion.objects.filter(product__sku="alpha").count() == 2


def test_it_is_quoted_and_charged(prices: Prices, costs: Costs) -> None:
    charge = charge_of(prices, USED)
    assert charge.lines == LINES
    assert (charge.input_nanos, charge.units_nanos) == (122_500, 6_000_000)
    assert charge.total_nanos == TOTAL_NANOS
    # Any of the input may be written to the cache, at the highest of its rates.
    most = quote(prices, input_tokens_max=160, output_tokens_max=20, units={"toy_search": 3})
    assert most == 160 * 875 + 20 * 2_500 + 6_000_000
    # The upstream asks nothing of its own for a write: it is input. 160 x 0.50 + 20 x 2 + 3 x 0.001
    assert charge_and_cost(prices, costs, USED)[1].total_nanos == 80_000 + 40_000 + 3_000_000


def test_its_line_is_settled_and_proved(record: UsageRecord) -> None:
    assert [tuple(line) for line in record.lines] == LINES
    assert (record.cost_nanos, record.charged_nanos) == (TOTAL_NANOS, TOTAL_NANOS)
    assert record.reserved_nanos >= TOTAL_NANOS
    assert broken_invariants() == {}


@pytest.mark.parametrize(
    ("place", "broken"), [(1, {"I4 lines"}), (2, {"I4 lines", "I4 rates"}), (4, {"I4 lines"})]
)
def test_a_changed_line_is_found(record: UsageRecord, place: int, broken: set[str]) -> None:
    record.lines[2][place] += 1
    UsageRecord.objects.filter(pk=record.pk).update(lines=record.lines)
    assert set(broken_invariants()) == broken


def test_a_line_of_a_component_that_is_gone_is_found(
    record: UsageRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(COMPONENTS, "toy_search")
    assert set(broken_invariants()) == {"I4 lines", "I4 cost rates"}


def test_the_requests_page_prints_its_line(record: UsageRecord, alice: User) -> None:
    page = _page(alice, record)
    for text in ("Toy searches", "$0.002 each", "Toy cache writes", "$0.875 per million"):
        assert text in page
    assert "Input tokens, not cached" in page
    assert "$0.006172500" in page
    assert "Verified: each line below was recomputed" in page


@pytest.mark.parametrize("place", [1, 2, 4])
def test_the_requests_page_says_that_a_line_was_changed(
    record: UsageRecord, alice: User, place: int
) -> None:
    record.lines[2][place] += 1
    UsageRecord.objects.filter(pk=record.pk).update(lines=record.lines)
    assert "This charge could not be confirmed." in _page(alice, record)


def _page(user: User, record: UsageRecord) -> str:
    answer = signed_in(user).get(f"/usage/requests/{record.pk}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_models_list_and_price_list_have_its_price(model: ModelEntry) -> None:
    pricing = model.listing(timezone.now())["pricing"]
    assert (pricing["toy_search"], pricing["toy_write"]) == ("0.002", "0.000000875")
    (line,) = price_list(load_snapshot())
    assert line.unit_price == "$0.002 per toy search, $0.875 per million toy cache writes"


def test_the_admin_prices_it_in_dollars(staff: Client) -> None:
    product = Product.objects.create(sku="new")
    form = price_form(rate_toy_search="$0.0025")
    response = publish(staff, add_url(product), form | {"rate_toy_write": "x"})
    assert "rate_toy_write" in response.context["form"].errors
    response = publish(staff, add_url(product), form)
    assert response.status_code == 302, response.context["form"].errors
    version = product.price_versions.get()
    assert version.extra_rates == {"toy_search": 2_500_000}

    page = reverse("admin:billing_priceversion_change", args=[version.pk])
    assert 'value="0.0025"' in staff.get(page).content.decode()
    changed = form | {"rate_toy_search": "", "rate_toy_write": "0.5"}
    assert publish(staff, page, changed).status_code == 302
    version.refresh_from_db()
    assert version.extra_rates == {"toy_write": 500_000_000}
    # One that has taken effect is only shown.
    version.effective_from = timezone.now() - timedelta(days=1)
    version.save()
    assert "Toy cache write, $ per 1,000,000: $0.500000000" in staff.get(page).content.decode()


def test_an_object_of_rates_is_checked_by_name(db: None) -> None:
    version = PriceVersion(product=Product.objects.create(sku="new"), effective_from=timezone.now())
    version.extra_rates = {"toy_search": 1, "nothing": 1}
    with pytest.raises(ValidationError, match="nothing") as error:
        version.full_clean()
    assert "extra_rates" in error.value.message_dict
