"""The log of ejected routes: what staff see, what a new process knows, and the alert."""

import asyncio
from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone
from msgspec import structs

from api.catalogue.ejections import alert_of_ejections
from api.gateway.breaker import FAILURES_IN_A_ROW
from api.gateway.ejection_log import EjectionLog
from api.models import Model, Route, RouteEjection, Upstream
from billing.models import LedgerAlert, Product
from tests.api.gateway.routes import new_route
from tests.billing.gates import database


@pytest.fixture
def route(db: None) -> Route:
    product = Product.objects.create(sku="public-model")
    model = Model.objects.create(name="public-model", product=product)
    there = Upstream.objects.create(name="there", base_url="http://127.0.0.1:1/v1")
    return Route.objects.create(model=model, upstream=there, upstream_model="upstream-model")


def fail(log: EjectionLog, route: Route, times: int = FAILURES_IN_A_ROW) -> None:
    entry, other = new_route(route.pk), new_route(route.pk + 1)
    for _ in range(times):
        log.breakers.note_failure(entry, (entry, other), log.breakers.now(), "failed: HTTP 503")


@pytest.mark.django_db(transaction=True)
def test_an_ejection_is_one_row_until_the_route_works_again(route: Route) -> None:
    log = EjectionLog(database())
    fail(log, route)
    asyncio.run(log.flush())
    row = RouteEjection.objects.get()
    assert (row.route, row.ejections, row.reason) == (route, 1, "failed: HTTP 503")
    assert timedelta() < row.retry_at - row.ejected_at <= timedelta(seconds=5)
    assert row.recovered_at is None
    log.breakers._breakers[route.pk].ends_at = 0.0
    fail(log, route, 1)
    asyncio.run(log.flush())
    again = RouteEjection.objects.get()
    assert (again.ejected_at, again.ejections) == (row.ejected_at, 2)
    assert again.retry_at > row.retry_at
    log.breakers.note_success(route.pk, log.breakers.now())
    asyncio.run(log.flush())
    assert RouteEjection.objects.get().recovered_at is not None
    fail(log, route)
    asyncio.run(log.flush())
    assert [each.recovered_at is None for each in RouteEjection.objects.all()] == [True, False]


@pytest.mark.django_db(transaction=True)
def test_each_key_of_a_route_is_ejected_and_recovers_by_itself(route: Route) -> None:
    keys = [route.upstream.keys.create(name=name) for name in ("first", "second")]
    places = [
        structs.replace(new_route(1).upstream, key_id=key.pk, key_name=key.name) for key in keys
    ]
    entries = [new_route(route.pk, upstream=place) for place in places]
    log = EjectionLog(database())
    for entry in entries:
        others = (*entries, new_route(route.pk + 1))
        for _ in range(FAILURES_IN_A_ROW):
            log.breakers.note_failure(entry, others, log.breakers.now(), "misconfigured: HTTP 401")
    asyncio.run(log.flush())
    lasting = RouteEjection.objects.filter(recovered_at=None)
    assert {row.key for row in lasting} == set(keys)
    again = EjectionLog(database())
    asyncio.run(again.flush())
    assert {again.breakers.state(entry.route_key) for entry in entries} == {"open"}
    log.breakers._breakers[entries[0].route_key].ends_at = 0.0
    log.breakers.note_success(entries[0].route_key, log.breakers.now())
    asyncio.run(log.flush())
    assert [row.key for row in lasting.all()] == [keys[1]]
    assert alert_of_ejections(timezone.now()) == 2, "one for each key"
    assert "by the key second" in LedgerAlert.objects.latest("pk").detail


@pytest.mark.django_db(transaction=True)
def test_a_process_that_starts_knows_what_is_ejected(route: Route) -> None:
    log = EjectionLog(database())
    fail(log, route)
    asyncio.run(log.flush())
    started = EjectionLog(database())
    asyncio.run(started.flush())
    assert started.breakers.state(route.pk) == "open"
    # Its success is logged, whichever process ejected the route.
    started.breakers.note_success(route.pk, started.breakers.now())
    asyncio.run(started.flush())
    assert RouteEjection.objects.get().recovered_at is not None
    another = EjectionLog(database())
    asyncio.run(another.flush())
    assert another.breakers.state(route.pk) == "closed"


@pytest.mark.django_db(transaction=True)
def test_a_route_that_was_deleted_meanwhile_is_not_logged(route: Route) -> None:
    log = EjectionLog(database())
    fail(log, route)
    log.breakers.note_success(route.pk, log.breakers.now())
    route.delete()
    asyncio.run(log.flush())
    assert not RouteEjection.objects.exists()
    assert not log.breakers.events


def test_without_a_database_nothing_is_lost_and_nothing_fails(route: Route) -> None:
    log = EjectionLog("postgresql://nobody@127.0.0.1:1/none")
    fail(log, route)
    with pytest.raises(psycopg.Error):
        asyncio.run(log.flush())
    assert len(log.breakers.events) == 1
    asyncio.run(log.close())


def test_staff_are_alerted_once_an_hour_and_route(route: Route) -> None:
    now = timezone.now()
    times = {"retry_at": now, "recovered_at": now}
    hour = now.replace(minute=0, second=0, microsecond=0)
    for at in (hour, hour, hour - timedelta(minutes=1), hour - timedelta(days=1)):
        RouteEjection.objects.create(route=route, ejected_at=at, reason="connect: no", **times)
    assert alert_of_ejections(now) == 2
    assert alert_of_ejections(now) == 0
    alerts = LedgerAlert.objects.filter(kind="route_ejected")
    assert all("public-model at there" in alert.reference for alert in alerts)
    assert all("connect: no" in alert.detail for alert in alerts)
