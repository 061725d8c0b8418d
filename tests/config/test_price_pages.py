"""The form of a price: it starts from the current one, is reviewed, and refuses accidents."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from api.models import Model, Route, RouteCost, Upstream
from billing.models import ContractPrice, CreditAccount, PriceVersion, Product
from billing.usage.records import roll_up_recent
from tests.cast import IssuedKey, signed_in
from tests.config.price_pages import add_url, price_form, publish
from tests.portal.serving import customer_of, serve

pytestmark = pytest.mark.django_db
NOW = {"effective_from_0": "", "effective_from_1": "", "is_free": ""}


@pytest.fixture
def product() -> Product:
    """A chat model that is sold at $0.70 and $2.50, and bought for $0.40 or $0.65 and $2."""
    product = Product.objects.create(sku="alpha")
    model = Model.objects.create(name="alpha", product=product)
    since = timezone.now() - timedelta(days=40)
    PriceVersion.objects.create(
        product=product,
        effective_from=since,
        input_nanos_per_million=700_000_000,
        output_nanos_per_million=2_500_000_000,
        extra_rates={"cache_write": 900_000_000},
        service_tiers={"priority": 1_750_000},
        source="the list",
    )
    for name, cost in (("cheap", 400_000_000), ("dear", 650_000_000)):
        upstream = Upstream.objects.create(name=name, base_url="http://127.0.0.1/v1")
        route = Route.objects.create(model=model, upstream=upstream, upstream_model="a")
        RouteCost.objects.create(
            route=route,
            effective_from=since,
            input_nanos_per_million=cost,
            output_nanos_per_million=2_000_000_000,
        )
    return product


def form_of(**changes: str) -> dict[str, str]:
    return price_form(
        **{
            "input_nanos_per_million": "0.80",
            "output_nanos_per_million": "2.50",
            **NOW,
            **changes,
        }
    )


def test_a_price_starts_from_the_one_before(staff: Client, product: Product) -> None:
    page = staff.get(add_url(product)).content.decode()
    for value in ("0.7", "2.5", "0.9"):
        assert f'value="{value}"' in page
    assert "priority 1.75" in page
    assert "$0.40 \N{RIGHTWARDS ARROW} 43%" in page
    assert "the list" not in page


def test_it_starts_from_a_price_to_come_where_there_is_one(staff: Client, product: Product) -> None:
    PriceVersion.objects.create(
        product=product,
        effective_from=timezone.now() + timedelta(days=1),
        input_nanos_per_million=750_000_000,
    )
    assert 'value="0.75"' in staff.get(add_url(product)).content.decode()


def test_nothing_is_published_before_it_was_reviewed(staff: Client, product: Product) -> None:
    response = staff.post(add_url(product), form_of())
    assert response.status_code == 200
    assert product.price_versions.count() == 1
    page = response.content.decode()
    assert "input tokens $0.70 \N{RIGHTWARDS ARROW} $0.80" in page
    assert "$0.40 \N{RIGHTWARDS ARROW} 50%" in page
    assert "$0.65 \N{RIGHTWARDS ARROW} 19%" in page

    reviewed = {"reviewed": response.context["form"].digest}
    other = staff.post(add_url(product), form_of(input_nanos_per_million="0.81") | reviewed)
    assert (other.status_code, product.price_versions.count()) == (200, 1)

    before = timezone.now()
    assert staff.post(add_url(product), form_of() | reviewed).status_code == 302
    newest = product.price_versions.first()
    assert newest is not None
    assert newest.input_nanos_per_million == 800_000_000
    assert before <= newest.effective_from <= timezone.now()
    entry = LogEntry.objects.get()
    assert "input tokens $0.70 \N{RIGHTWARDS ARROW} $0.80" in entry.change_message


@pytest.mark.parametrize(
    ("changes", "box"),
    [
        ({"input_nanos_per_million": "0"}, "is_free"),
        ({"output_nanos_per_million": "0"}, "is_free"),
        ({"input_nanos_per_million": "0.64"}, "is_loss"),
        ({"output_nanos_per_million": "1.99"}, "is_loss"),
        ({"factor_millionths": "0.75"}, "is_loss"),
        ({"service_tiers": "flex 0.5"}, "is_loss"),
        ({"context_tiers": "1000: input 0.1"}, "is_loss"),
    ],
)
def test_an_accident_is_refused_unless_a_box_says_so(
    staff: Client, product: Product, changes: dict[str, str], box: str
) -> None:
    form = form_of(**changes)
    response = publish(staff, add_url(product), form)
    assert response.status_code == 200
    assert box in response.context["form"].errors
    assert product.price_versions.count() == 1
    boxes = dict.fromkeys(response.context["form"].errors, "on")
    assert publish(staff, add_url(product), form | boxes).status_code == 302
    assert product.price_versions.count() == 2


def test_a_model_that_is_sold_for_nothing_at_all_is_an_accident(staff: Client) -> None:
    product = Product.objects.create(sku="new")
    response = publish(staff, add_url(product), price_form(is_free=""))
    assert response.context["form"].errors.keys() == {"is_free"}
    assert publish(staff, add_url(product), price_form()).status_code == 302


def test_a_cost_to_come_counts_for_a_price_to_come(staff: Client, product: Product) -> None:
    later = timezone.now() + timedelta(days=5)
    route = Route.objects.get(upstream__name="cheap")
    RouteCost.objects.create(
        route=route, effective_from=later, input_nanos_per_million=2_000_000_000
    )
    form = form_of()
    assert publish(staff, add_url(product), form).status_code == 302
    moment = later + timedelta(days=1)
    dated = form | {"effective_from_0": f"{moment:%Y-%m-%d}", "effective_from_1": "00:00:00"}
    response = publish(staff, add_url(product), dated)
    assert response.context["form"].errors.keys() == {"is_loss"}


def test_a_price_is_not_published_for_the_past(staff: Client, product: Product) -> None:
    form = form_of(effective_from_0="2020-01-01", effective_from_1="00:00:00")
    response = publish(staff, add_url(product), form)
    assert response.context["form"].errors.keys() == {"effective_from"}


def test_a_price_to_come_is_in_force_from_its_moment_on(staff: Client, product: Product) -> None:
    form = form_of(effective_from_0="2099-01-01", effective_from_1="12:30:00")
    assert publish(staff, add_url(product), form).status_code == 302
    version = product.price_versions.first()
    assert version is not None
    assert version.effective_from == datetime.fromisoformat("2099-01-01T12:30:00Z")


def test_the_largest_customers_are_repriced(
    staff: Client,
    product: Product,
    alices_account: CreditAccount,
    alices_key: IssuedKey,
) -> None:
    customer = customer_of(alices_account, alices_key, 10**9)
    lines: list[Any] = [
        ["input", 800, 700_000_000, 1_000_000, 560_000],
        ["cache_write", 200, 900_000_000, 1_000_000, 180_000],
        ["output", 100, 2_500_000_000, 1_000_000, 250_000],
    ]
    serve(
        customer,
        hold_nanos=2_000_000,
        model="alpha",
        input_tokens=1_000,
        output_tokens=100,
        input_nanos=740_000,
        output_nanos=250_000,
        lines=lines,
        source="upstream",
    )
    roll_up_recent(2)

    def would(**changes: str) -> list[str]:
        response = staff.post(add_url(product), form_of(**changes))
        (row,) = response.context["customers"]["rows"]
        assert row[:3] == [alices_account.team.slug, "1", "$0.000990"]
        return row[3:]

    # 1,000 x 0.80 + 100 x 2.50
    assert would() == ["$0.001050", "+6.1%", ""]
    # Of the lines, as 200 tokens have a price of their own: 800 x 0.80 + 200 x 2 + 100 x 2.50
    assert would(rate_cache_write="2") == ["$0.001290", "+30.3%", ""]
    # Above the tier: 1,000 x 1 + 100 x 2.50
    assert would(context_tiers="500: input 1") == ["$0.001250", "+26.3%", ""]
    assert would(context_tiers="1000: input 1") == ["$0.001050", "+6.1%", ""]
    # A contract's factor is on the new price; own rates replace it.
    now = timezone.now()
    agreed: dict[str, Any] = {
        "reason": "Signed",
        "state": ContractPrice.State.APPROVED,
        "decided_at": now,
    }
    agreed |= {"team": alices_account.team, "effective_from": now}
    ContractPrice.objects.create(factor_millionths=500_000, **agreed)
    assert would() == ["$0.000525", "-47.0%", "50% of the list price"]
    own = {"input_nanos_per_million": 600_000_000, "output_nanos_per_million": 1_000_000_000}
    ContractPrice.objects.create(product=product, has_own_rates=True, **own, **agreed)
    assert would() == ["$0.000700", "-29.3%", "own rates"]


def test_only_who_may_add_prices_sees_the_form(product: Product, alice: User) -> None:
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_priceversion"))
    browser = signed_in(clerk)
    assert browser.get(add_url(product)).status_code == 403
    assert browser.post(add_url(product), form_of()).status_code == 403
    assert signed_in(alice).get(add_url(product)).status_code == 302
    clerk.user_permissions.add(Permission.objects.get(codename="add_priceversion"))
    assert signed_in(User.objects.get(pk=clerk.pk)).get(add_url(product)).status_code == 200


def test_a_price_of_nothing_asks_what_to_price(staff: Client, product: Product) -> None:
    for query in ("", "?product=", "?product=x", "?product=999999"):
        page = staff.get(reverse("admin:billing_priceversion_add") + query)
        assert page.status_code == 200
        assert "alpha" in page.content.decode()
    link = staff.get(reverse("admin:billing_product_set_price", args=[product.pk]))
    assert link["Location"] == add_url(product)
