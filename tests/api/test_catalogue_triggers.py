"""Every change of what the snapshot holds advances the catalogue's version, and nothing else."""

from collections.abc import Callable

import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import Plan
from api.models import Model, ModelAlias, Route, RouteCost, Service, Upstream
from billing.models import CatalogueVersion, PriceVersion, Product

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> None:
    upstream = Upstream.objects.create(name="maker", base_url="http://maker/v1")
    product = Product.objects.create(sku="alpha")
    model = Model.objects.create(name="alpha", product=product)
    ModelAlias.objects.create(name="a", model=model)
    route = Route.objects.create(model=model, upstream=upstream, upstream_model="alpha")
    RouteCost.objects.create(route=route, effective_from=timezone.now())
    PriceVersion.objects.create(product=product, effective_from=timezone.now())
    Plan.objects.create(name="test", title="Test")
    Service.objects.create()
    with connection.cursor() as cursor:  # a table with checks to come can't be truncated
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")


def version() -> int:
    return CatalogueVersion.objects.get().version


INSERTS: dict[str, Callable[[], object]] = {
    "accounts_plan": lambda: Plan.objects.create(name="new", title="New"),
    "api_model": lambda: Model.objects.create(
        name="beta", product=Product.objects.create(sku="beta")
    ),
    "api_modelalias": lambda: ModelAlias.objects.create(name="b", model=Model.objects.get()),
    "api_route": lambda: Route.objects.create(
        model=Model.objects.get(), upstream=Upstream.objects.get(), upstream_model="x"
    ),
    "api_routecost": lambda: RouteCost.objects.create(
        route=Route.objects.get(), effective_from=timezone.now()
    ),
    "api_service": lambda: (Service.objects.all().delete(), Service.objects.create()),
    "api_upstream": lambda: Upstream.objects.create(name="other", base_url="http://other/v1"),
    "billing_priceversion": lambda: PriceVersion.objects.create(
        product=Product.objects.get(), effective_from=timezone.now()
    ),
    "billing_product": lambda: Product.objects.create(sku="gamma"),
}
COLUMNS = {
    "accounts_plan": "title = 'Else'",
    "api_model": "title = 'Else'",
    "api_modelalias": "name = 'else'",
    "api_route": "weight = 7",
    "api_routecost": "input_nanos_per_million = 7",
    "api_service": "is_open = false",
    "api_upstream": "max_concurrency = 7",
    "billing_priceversion": "input_nanos_per_million = 7",
    "billing_product": "sku = 'else'",
}


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", sorted(INSERTS))
def test_an_insert_advances_the_version(table: str) -> None:
    before = version()
    INSERTS[table]()
    assert version() > before


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", sorted(COLUMNS))
def test_an_update_advances_the_version_once_unless_it_changes_nothing(table: str) -> None:
    before = version()
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {COLUMNS[table]}")
        assert version() == before + 1
        cursor.execute(f"UPDATE {table} SET {COLUMNS[table]}")
        cursor.execute(f"UPDATE {table} SET {COLUMNS[table]} WHERE false")
        assert version() == before + 1


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", sorted(COLUMNS))
def test_a_delete_advances_the_version_unless_it_takes_no_row(table: str) -> None:
    before = version()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE false")
        assert version() == before
        cursor.execute(f"DELETE FROM {table}")
        assert version() == before + 1
        transaction.set_rollback(True)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("table", sorted(COLUMNS.keys() - {"accounts_plan"}))
def test_a_truncate_advances_the_version(table: str) -> None:
    before = version()  # plans are left out: from them it would cascade to the ledger
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table} CASCADE")
    assert version() > before


@pytest.mark.usefixtures("rows")
def test_a_version_that_a_truncate_took_with_it_is_made_again() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE billing_catalogueversion, api_modelalias")
    assert version() == 1
