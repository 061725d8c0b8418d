"""Drained upstreams and routes: no new calls, running ones end, staff see and decide it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from msgspec import structs

from accounts.models import User
from api.catalogue.snapshot import load_snapshot
from api.models import Model, Route, RouteEjection, Upstream
from billing.models import CatalogueVersion, Product
from portal.console.attention import concerns_for
from tests.api.gateway import upstream as scripted
from tests.api.gateway.upstream import GOOD_STREAM, STREAM_HEAD, answer, completion, raw
from tests.api.gateway.world import World, body, in_loop
from tests.cast import signed_in
from tests.support.waiting import eventually_async

HOUR = timedelta(hours=1)


@pytest.fixture
def routes(db: None) -> list[Route]:
    """The two routes of one model."""
    model = Model.objects.create(name="alpha", product=Product.objects.create(sku="alpha"))
    made = []
    for name in ("one", "two"):
        there = Upstream.objects.create(name=name, base_url=f"http://127.0.0.1:1/{name}")
        made.append(Route.objects.create(model=model, upstream=there, upstream_model=name))
    return made


@pytest.fixture
def staff(db: None) -> Client:
    return signed_in(User.objects.create_superuser("boss@example.com"))


def serving(now: datetime) -> list[str]:
    """Return the upstream's names of the models that are served at a moment."""
    model = load_snapshot().models["alpha"].in_service(now)
    return [route.upstream_model for route in model.routes]


def test_a_route_serves_until_it_drains(routes: list[Route]) -> None:
    now = timezone.now()
    assert serving(now) == ["one", "two"]
    Route.objects.filter(pk=routes[0].pk).update(drains_at=now)
    Route.objects.filter(pk=routes[1].pk).update(drains_at=now + 2 * HOUR)
    moments = [now - HOUR, now, now + HOUR, now + 2 * HOUR]
    assert [serving(moment) for moment in moments] == [["one", "two"], ["two"], ["two"], []]


def test_a_route_drains_with_its_upstream_if_that_is_earlier(routes: list[Route]) -> None:
    now = timezone.now()
    Upstream.objects.filter(name="one").update(drains_at=now + HOUR)
    assert serving(now + HOUR) == ["two"]
    Route.objects.filter(pk=routes[0].pk).update(drains_at=now)
    assert serving(now) == ["two"]
    Route.objects.filter(pk=routes[0].pk).update(drains_at=now + 2 * HOUR)
    assert [serving(now), serving(now + HOUR)] == [["one", "two"], ["two"]]


def test_every_process_learns_of_a_drain(routes: list[Route]) -> None:
    before = CatalogueVersion.objects.get().version
    routes[0].drains_at = timezone.now() + HOUR
    routes[0].save()
    middle = CatalogueVersion.objects.get().version
    Upstream.objects.filter(name="two").update(drains_at=timezone.now())
    assert before < middle < CatalogueVersion.objects.get().version


class Drained(World):
    """Routes of equal priority that drain at `at`, where it isn't None."""

    at: tuple[datetime | None, ...] = (None, None)

    def _routes(self) -> Any:
        return tuple(
            structs.replace(route, drains_at=at)
            for route, at in zip(super()._routes(), self.at, strict=True)
        )


@in_loop
async def test_a_drained_route_gets_no_calls() -> None:
    upstreams = [scripted.Upstream(answer(completion())) for _ in range(2)]
    async with Drained(upstreams=upstreams) as world:
        now = datetime.now(UTC)
        for at in ((now - HOUR, None), (None, now - HOUR), (now + HOUR, None)):
            world.at = at
            world.gateway.catalogue.current = world.snapshot()
            assert (await world.chat()).status == 200
        assert [each.upstream for each in world.gate.settlements] == [
            *("upstream-1", "upstream-0", "upstream-0")
        ]
        world.at = (now - HOUR, now - HOUR)
        world.gateway.catalogue.current = world.snapshot()
        assert (await world.chat()).status == 503
        states = world.gateway.health.states(world.gateway.catalogue.current)
        assert states == {"public-model": "offline"}


@in_loop
async def test_a_running_call_of_a_drained_route_ends_as_usual() -> None:
    goes_on = asyncio.Event()

    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + GOOD_STREAM[0])
        await goes_on.wait()
        await raw(*GOOD_STREAM[1:])(writer)

    upstreams = [scripted.Upstream(slow), scripted.Upstream(answer(completion()))]
    async with Drained(upstreams=upstreams) as world:
        task, reply = world.begin(body(stream=True))
        await eventually_async(lambda: b"Hel" in reply.body)
        world.at = (datetime.now(UTC), None)
        world.gateway.catalogue.current = world.snapshot()
        assert (await world.chat()).status == 200
        goes_on.set()
        await task
        assert reply.text == "Hello"
        assert [each.upstream for each in world.gate.settlements] == ["upstream-1", "upstream-0"]
        assert {each.outcome for each in world.gate.settlements} == {"completed"}


def state_of(staff: Client, page: str, row: Any) -> str:
    """Return the state of a row in its list."""
    answer = staff.get(reverse(f"admin:api_{page}_changelist"))
    assert answer.status_code == 200
    admin = answer.context["cl"].model_admin
    (found,) = [each for each in answer.context["cl"].result_list if each.pk == row.pk]
    text = str(admin.state(found))
    assert text in answer.content.decode()
    return text


def run(staff: Client, page: str, action: str, *rows: Any) -> None:
    """Run an action on rows of a list."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    assert staff.post(reverse(f"admin:api_{page}_changelist"), data).status_code == 302


def test_staff_drain_and_end_it(staff: Client, routes: list[Route]) -> None:
    one, two = routes
    run(staff, "route", "drain", one)
    one.refresh_from_db()
    first = one.drains_at
    assert first is not None
    assert serving(timezone.now()) == ["two"]
    # Once drained, it stays as it is.
    run(staff, "route", "drain", one)
    one.refresh_from_db()
    assert one.drains_at == first
    run(staff, "upstream", "drain", two.upstream)
    assert serving(timezone.now()) == []
    run(staff, "route", "end_drain", one, two)
    run(staff, "upstream", "end_drain", two.upstream)
    assert serving(timezone.now()) == ["one", "two"]
    texts = LogEntry.objects.order_by("pk").values_list("change_message", flat=True)
    assert list(texts) == ["Drained.", "Drained.", "Drain ended.", "Drain ended."]


def test_the_overview_reminds_staff_of_a_drained_upstream(
    staff: Client, routes: list[Route]
) -> None:
    upstream, other = routes[0].upstream, routes[1].upstream
    run(staff, "upstream", "drain", upstream)
    Upstream.objects.filter(pk=other.pk).update(drains_at=timezone.now() + HOUR)
    texts = [concern.text for concern in concerns_for(User.objects.get())]
    assert "one is drained" in texts
    assert "two is drained" not in texts


def test_a_drain_can_be_planned(staff: Client, routes: list[Route]) -> None:
    upstream = routes[0].upstream
    page = reverse("admin:api_upstream_change", args=[upstream.pk])
    form = staff.get(page).context["adminform"].form
    data = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    data |= {"drains_at_0": "2099-01-02", "drains_at_1": "03:04:00", "new_key": ""}
    assert staff.post(page, data).status_code == 302
    upstream.refresh_from_db()
    assert upstream.drains_at == datetime(2099, 1, 2, 3, 4, tzinfo=UTC)
    assert state_of(staff, "upstream", upstream) == "Drains at 2099-01-02 03:04 UTC"
    assert state_of(staff, "route", routes[0]) == "Drains at 2099-01-02 03:04 UTC"


def test_lists_show_states(staff: Client, routes: list[Route]) -> None:
    one, two = routes
    assert state_of(staff, "route", one) == state_of(staff, "upstream", one.upstream) == "In use"
    now = timezone.now()
    old = {"retry_at": now - HOUR, "recovered_at": now, "ejected_at": now - HOUR}
    RouteEjection.objects.create(route=one, **old)
    assert state_of(staff, "route", one) == state_of(staff, "upstream", one.upstream) == "In use"
    ejection = RouteEjection.objects.create(route=one, retry_at=now + HOUR)
    assert state_of(staff, "route", one).startswith("Open until ")
    assert state_of(staff, "upstream", one.upstream) == "1 of 1 routes ejected"
    RouteEjection.objects.filter(pk=ejection.pk).update(retry_at=now)
    assert state_of(staff, "route", one) == "Half-open"
    one.drains_at = now
    one.save()
    assert state_of(staff, "route", one).startswith("Drained since ")
    one.is_enabled = False
    one.save()
    assert state_of(staff, "route", one) == "Disabled"
    assert state_of(staff, "route", two) == state_of(staff, "upstream", two.upstream) == "In use"
    two.upstream.is_enabled = False
    two.upstream.save()
    assert state_of(staff, "route", two) == state_of(staff, "upstream", two.upstream) == "Disabled"
