"""Maintenance mode at the API: every operation refuses in its dialect, and nothing is reserved."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from api import maintenance
from api.maintenance import Maintenance, Watch
from api.models import MaintenanceMode
from api.operations import OPERATIONS
from tests.api.gateway.upstream import GOOD_STREAM, answer, completion, stream
from tests.api.gateway.world import World, body, in_loop
from tests.support.waiting import eventually_async

CLOSED = [each for each in OPERATIONS.values() if not each.is_public]
MODE = Maintenance(is_on=True, text="We move to larger disks.")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is under maintenance for half an hour."""
    ends_at = datetime.now(UTC) + timedelta(minutes=30)
    monkeypatch.setattr(maintenance, "current", MODE._replace(ends_at=ends_at))


@pytest.mark.parametrize("operation", CLOSED, ids=lambda each: each.name)
@pytest.mark.usefixtures("closed")
@in_loop
async def test_every_operation_says_so_in_its_dialect(operation: Any) -> None:
    async with World(answer(completion())) as world:
        path = operation.path.replace("{", "").replace("}", "")
        reply = await world.post({}, f"/v1{path}", method=operation.methods[0])
    assert reply.status == 503
    assert 1700 < int(reply.headers["retry-after"]) <= 1801
    error = reply.json["error"]
    assert "under maintenance until" in error["message"]
    assert "We move to larger disks." in error["message"]
    assert (world.gate.admissions, world.upstream.calls) == ([], [])
    if operation.name == "messages":
        assert (reply.json["type"], error["type"]) == ("error", "api_error")
    else:
        assert error["code"] == "service_unavailable"


@pytest.mark.usefixtures("closed")
@in_loop
async def test_browsers_may_read_the_answer_and_balancers_the_health() -> None:
    async with World(answer(completion())) as world:
        preflight = await world.post(b"", method="OPTIONS")
        unknown = await world.post({}, "/v1/nothing")
        health = await world.post(b"", "/health", method="GET")
    assert (preflight.status, unknown.status, health.status) == (204, 503, 200)


@in_loop
async def test_running_requests_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    async with World(stream(0.5, *GOOD_STREAM)) as world:
        task, reply = world.begin(body(stream=True))
        await asyncio.sleep(0.2)
        monkeypatch.setattr(maintenance, "current", MODE)
        await task
    assert (reply.status, reply.text) == (200, "Hello")
    assert len(world.gate.settlements) == 1


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(None, 60), (-5, 60), (10, 600), (600, 3600)],
)
def test_retry_after_is_the_time_that_is_left(minutes: int | None, expected: int) -> None:
    ends_at = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
    assert abs(Maintenance(is_on=True, ends_at=ends_at).retry_seconds() - expected) <= 1


def test_each_process_hears_of_it_within_two_seconds(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "current", Maintenance())
    name = connection.settings_dict["NAME"]
    url = psycopg.conninfo.make_conninfo(settings.DATABASE_URL, dbname=name)

    async def seen(is_on: bool) -> float:
        began = asyncio.get_running_loop().time()
        await eventually_async(lambda: maintenance.current.is_on == is_on)
        return asyncio.get_running_loop().time() - began

    async def play() -> None:
        watch = Watch(url)
        await watch.open()
        assert maintenance.current == Maintenance()
        await asyncio.to_thread(switch, is_on=True, text="Text")
        assert await asyncio.wait_for(seen(True), 5) < 2
        assert maintenance.current.text == "Text"
        # Without the database, the last known state stays; the next reading reconnects.
        assert watch._connection is not None
        await watch._connection.close()
        await asyncio.to_thread(switch, is_on=False)
        assert await asyncio.wait_for(seen(False), 5) < 3
        await watch.close()

    def switch(**values: Any) -> None:
        MaintenanceMode.objects.update_or_create(pk=1, defaults=values)
        connection.close()

    asyncio.run(play())


def test_a_process_starts_with_what_is_true(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "current", Maintenance())
    MaintenanceMode.objects.update_or_create(pk=1, defaults={"is_on": True})
    name = connection.settings_dict["NAME"]
    url = psycopg.conninfo.make_conninfo(settings.DATABASE_URL, dbname=name)

    async def play() -> None:
        watch = Watch(url)
        await watch.open()
        assert maintenance.current.is_on
        await watch.close()

    asyncio.run(play())
