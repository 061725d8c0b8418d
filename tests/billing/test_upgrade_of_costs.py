"""Upgrades from prices that had the costs to routes that have them."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from api.models import RouteCost
from billing.models import PriceVersion
from tests.billing.conftest import broken_invariants
from tests.billing.upgrades import copy_of, last_release_database, migrate

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = """
INSERT INTO billing_priceversion (
    id, product_id, effective_from, input_nanos_per_million, output_nanos_per_million, image_nanos,
    second_nanos, piece_nanos, request_nanos, input_cost_nanos_per_million,
    output_cost_nanos_per_million, image_cost_nanos, second_cost_nanos, piece_cost_nanos,
    request_cost_nanos, source, created_at)
VALUES (%s, 101, now() - make_interval(days => %s), 9, 9, 0, 0, 0, 0, %s, 4, 0, 0, 0, 0, 'list',
        now())
"""


@pytest.fixture
def last_release(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of the last release, in the place of the tests' own."""
    with django_db_blocker.unblock(), last_release_database() as name, copy_of(name):
        yield
        assert broken_invariants() == {}


def test_each_route_gets_the_costs_that_its_models_prices_had(last_release: None):
    call_command("migrate", "api", "0014_route_costs", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO billing_product VALUES (101, 'alpha', now())")
        for pk, days, cost in ((101, 9, 0), (102, 8, 3), (103, 7, 3), (104, -1, 5)):
            cursor.execute(PRICE, [pk, days, cost])
        cursor.execute(
            "UPDATE billing_priceversion SET output_cost_nanos_per_million = 0 WHERE id = 101"
        )
    then = MigrationExecutor(connection).loader.project_state([("api", "0014_route_costs")]).apps
    model = then.get_model("api", "Model").objects.create(name="alpha", product_id=101)
    upstream = then.get_model("api", "Upstream").objects.create(
        name="maker", base_url="http://127.0.0.1/v1"
    )
    for name in ("a", "b"):
        then.get_model("api", "Route").objects.create(
            model=model, upstream=upstream, upstream_model=name
        )

    migrate()

    kept = RouteCost.objects.order_by("route__upstream_model", "effective_from")
    columns = ("route__upstream_model", "input_nanos_per_million", "output_nanos_per_million")
    assert list(kept.values_list(*columns)) == [
        ("a", 3, 4),
        ("a", 5, 4),
        ("b", 3, 4),
        ("b", 5, 4),
    ]
    assert kept[1].effective_from == PriceVersion.objects.get(pk=104).effective_from
    # A process of the last release still adds prices, and one of this release does without costs.
    with connection.cursor() as cursor:
        cursor.execute(PRICE, [105, -2, 6])
    version = PriceVersion.objects.create(
        product_id=101, effective_from=timezone.now() + timedelta(days=3)
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT input_cost_nanos_per_million FROM billing_priceversion WHERE id IN (105, %s)"
            " ORDER BY effective_from",
            [version.pk],
        )
        assert cursor.fetchall() == [(6,), (0,)]
