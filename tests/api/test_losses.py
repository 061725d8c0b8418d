"""Alerts about models that are sold below what an upstream charges."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.models import Model, Route, RouteCost, Upstream
from api.tasks import alert_of_losses
from billing.models import LedgerAlert, PriceVersion, Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def route() -> Route:
    """A route that costs as much as the model's price."""
    product = Product.objects.create(sku="alpha")
    model = Model.objects.create(name="alpha", product=product)
    upstream = Upstream.objects.create(name="maker", base_url="http://127.0.0.1/v1")
    route = Route.objects.create(model=model, upstream=upstream, upstream_model="a")
    rates = {"input_nanos_per_million": 7 * 10**8, "output_nanos_per_million": 25 * 10**8}
    since = timezone.now() - timedelta(days=2)
    PriceVersion.objects.create(product=product, effective_from=since, **rates)
    RouteCost.objects.create(route=route, effective_from=since, **rates)
    return route


def set_cost(route: Route, **changes: Any) -> None:
    moment = changes.pop("effective_from", timezone.now() - timedelta(seconds=1))
    RouteCost.objects.create(route=route, effective_from=moment, **changes)


def test_a_price_that_covers_its_cost_is_no_alert(route: Route) -> None:
    assert alert_of_losses() == 0
    assert not LedgerAlert.objects.exists()


def test_a_cost_above_the_price_is_told_once(route: Route) -> None:
    set_cost(route, input_nanos_per_million=8 * 10**8)
    assert (alert_of_losses(), alert_of_losses()) == (1, 0)
    alert = LedgerAlert.objects.get()
    assert alert.kind == "below_cost"
    assert "alpha is sold below its cost at maker: input $0.70 < $0.80" in alert.detail
    assert "output" not in alert.detail
    # Another cost that is too high is another alert.
    set_cost(route, input_nanos_per_million=9 * 10**8, effective_from=timezone.now())
    assert alert_of_losses() == 1


def test_a_cost_to_come_and_a_route_that_is_off_are_no_alert(route: Route) -> None:
    set_cost(
        route, input_nanos_per_million=10**9, effective_from=timezone.now() + timedelta(days=1)
    )
    assert alert_of_losses() == 0
    set_cost(route, input_nanos_per_million=10**9)
    Route.objects.update(is_enabled=False)
    assert alert_of_losses() == 0
