"""What needs committed rows: loads at once, and the relay's own connection."""

import asyncio
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from psycopg.conninfo import make_conninfo
from pytest_django import DjangoDbBlocker

from api.catalogue.current import Catalogue
from api.catalogue.snapshot import Snapshot, load, load_snapshot
from api.models import Model, Route, RouteCost, Service, Upstream
from billing.models import CatalogueVersion, PriceVersion, Product

CATALOGUE = """
[service]
name = "Shop"

[[upstreams]]
name = "maker"
base_url = "http://maker:9000/v1"

[[models]]
name = "alpha"
aliases = ["a"]
context_tokens = 1000
max_output_tokens = 500
prices = { input = "0.70", output = "2.50" }
cost = { input = "0.35", output = "1.25" }
routes = [{ upstream = "maker" }, { upstream = "maker", upstream_model = "alpha-2" }]
"""


@pytest.fixture
def _committed(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Commit, and cleans up by itself: the ledger refuses the TRUNCATE of Django's flush."""
    with django_db_blocker.unblock():
        yield
        for model in (RouteCost, Route, Model, PriceVersion, Product, Upstream, Service):
            model.objects.all().delete()
        connection.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(CATALOGUE)
    return path


def own_address() -> str:
    connection.ensure_connection()
    assert connection.connection is not None
    info = connection.connection.info
    return make_conninfo(info.dsn, password=info.password or None)


@pytest.mark.usefixtures("_committed")
def test_loads_at_once_take_turns_and_load_once(file: Path) -> None:
    start = threading.Barrier(4)
    outputs: list[str] = []

    def run() -> None:
        output = StringIO()
        try:
            start.wait(timeout=60)
            call_command("load_catalogue", str(file), stdout=output)
            outputs.append(output.getvalue())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(outputs)[1:] == ["shop.toml: nothing to change\n"] * 3
    assert (Model.objects.count(), PriceVersion.objects.count(), Route.objects.count()) == (1, 1, 2)


@pytest.mark.usefixtures("_committed")
def test_the_relays_way_and_djangos_read_the_same_snapshot(file: Path) -> None:
    call_command("load_catalogue", str(file), stdout=StringIO())
    address = own_address()

    async def read() -> Snapshot:
        async with await psycopg.AsyncConnection.connect(address) as own:
            return await load(own)

    snapshot = asyncio.run(read())
    assert snapshot == load_snapshot()
    assert snapshot.version == CatalogueVersion.objects.get().version
    assert snapshot.models["a"] == snapshot.ordered[0]


@pytest.mark.usefixtures("_committed")
def test_a_process_follows_what_staff_change(file: Path) -> None:
    call_command("load_catalogue", str(file), stdout=StringIO())
    address = own_address()

    async def read() -> Snapshot:
        async with await psycopg.AsyncConnection.connect(address) as own:
            return await load(own)

    async def scenario() -> None:
        catalogue = Catalogue(read)
        for weight in (2, 3):
            await asyncio.to_thread(change, weight)
            async with await psycopg.AsyncConnection.connect(address) as own:
                cursor = await own.execute("SELECT version FROM billing_catalogueversion")
                row = await cursor.fetchone()
            assert row is not None
            snapshot = await catalogue.refresh_to(row[0])
            assert snapshot.version == row[0]
            assert {route.weight for route in snapshot.models["alpha"].routes} == {weight}

    def change(weight: int) -> None:
        try:
            Route.objects.update(weight=weight)
        finally:
            connection.close()

    asyncio.run(scenario())
