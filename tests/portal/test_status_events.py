"""What staff tell on the status page, in its feed, by email and on dashboards."""

import itertools
import re
from datetime import datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from api import maintenance
from api.catalogue.snapshot import load_snapshot
from api.gateway.health import state_of
from api.maintenance import Maintenance
from api.models import Route, Service, StatusEvent, StatusSubscriber, StatusUpdate
from portal.emails.sending import send_email
from portal.status.events import Events, headline, shown_states
from portal.status.tasks import send_status_updates
from portal.ui.availability import _tone
from tests.portal.keys_pages import load_catalogue
from tests.portal.sent_emails import last_to, link_to

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue of the pages' tests, and fresh rate limits."""
    load_catalogue(monkeypatch)
    cache.clear()


def told(kind: str, title: str, text: str = "Details.", **values: Any) -> StatusEvent:
    """Return a published event with one update."""
    event = StatusEvent.objects.create(kind=kind, title=title, **{"is_published": True, **values})
    StatusUpdate.objects.create(event=event, text=text)
    return event


def page_of(client: Client) -> str:
    return client.get("/status").content.decode()


def section(page: str, title: str) -> str:
    found = re.search(rf"<h2[^>]*>{title}.*?</section>", page, re.S)
    assert found, f"no section {title}"
    return found[0]


def test_events_are_told_now_planned_and_past(client: Client) -> None:
    now = timezone.now()
    told("incident", "Slow answers", "We see <slow> answers.")
    told("maintenance", "New disks", starts_at=now + HOUR, ends_at=now + 2 * HOUR)
    told("maintenance", "New racks", starts_at=now + 3 * HOUR)
    told("announcement", "New models")
    told("incident", "Yesterday", starts_at=now - 30 * HOUR, ends_at=now - 28 * HOUR)
    told("incident", "Long ago", starts_at=now - 900 * HOUR, ends_at=now - 890 * HOUR)
    told("incident", "A draft", is_published=False)
    told("announcement", "Tomorrow's", starts_at=now + 24 * HOUR)
    told("announcement", "Last quarter", starts_at=now - 900 * HOUR)
    page = page_of(client)
    current = section(page, "Current and upcoming")
    for title in ("Slow answers", "New disks", "New racks", "New models"):
        assert title in current
    assert "We see &lt;slow&gt; answers." in current
    assert current.count("to now") == 1, "of the incident, not of open-ended maintenance to come"
    assert "Yesterday" in section(page, "History")
    for title in ("Long ago", "A draft", "Tomorrow&#x27;s", "Last quarter"):
        assert title not in page
    assert "All systems operational" not in page


@pytest.mark.parametrize("impact", ["degraded", "outage"])
def test_an_incident_makes_its_models_worse(client: Client, impact: str) -> None:
    names = [model.name for model in load_snapshot().public_models()]
    told("incident", "Broken", impact=impact, model_names=[names[0]])
    page = page_of(client)
    assert f"1 of {len(names)} models has problems" in page
    assert ("Degraded" if impact == "degraded" else "Offline") in page


def test_a_model_that_was_switched_off_is_under_maintenance(client: Client) -> None:
    name = load_snapshot().public_models()[0].name
    Route.objects.filter(model__name=name).update(is_enabled=False)
    page = page_of(client)
    assert "is under maintenance</strong>: <code>" + name in page
    assert "Offline" not in page


def test_while_the_service_is_closed_all_models_are_under_maintenance(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Service.objects.update(is_open=False)
    page = page_of(client)
    assert "The API is temporarily unavailable" in page
    count = len(load_snapshot().public_models())
    assert page.count(">Maintenance<") == count
    Service.objects.update(is_open=True)
    assert page_of(client).count(">Maintenance<") == 0
    monkeypatch.setattr(maintenance, "current", Maintenance(is_on=True, text="New disks."))
    page = page_of(client)
    assert "Under maintenance" in page
    assert "New disks." in page
    assert page.count(">Maintenance<") == count


def test_the_headline_never_contradicts_what_is_below_it() -> None:
    """Every combination of measured states, switches and events."""
    models = load_snapshot().public_models()[:2]
    first, second = (model.name for model in models)
    states = ("operational", "degraded", "offline")
    kinds = (None, ("incident", "none"), ("incident", "degraded"), ("maintenance", "none"))
    combinations = itertools.product(states, states, kinds, ([], [first]), (False, True))
    for one, two, kind, names, is_closed in combinations:
        events = Events()
        if kind is not None:
            event = StatusEvent(kind=kind[0], impact=kind[1], title="x", model_names=names)
            (events.incidents if kind[0] == "incident" else events.maintenance).append(event)
        measured = {first: one, second: two}
        shown = shown_states(models, measured, events, is_closed=is_closed)
        line = headline(shown, events, has_requests=True)
        is_well = set(shown.values()) == {"operational"} and not events.incidents
        assert (line.tone == "good") == is_well
        assert set(line.models) <= {name for name in shown if shown[name] != "operational"}
        order = ("operational", "degraded", "offline", "maintenance")
        for name in shown:
            assert order.index(shown[name]) >= order.index(measured[name])


def test_a_bar_is_red_exactly_where_the_rule_says_degraded() -> None:
    for succeeded, failed in itertools.product(range(0, 120, 3), range(40)):
        is_red = _tone(succeeded, failed) == "bad"
        assert is_red == (state_of(succeeded, failed) != "operational")


def test_the_feed_has_the_published_updates(client: Client) -> None:
    event = told("incident", "Slow & broken", "Second <try>")
    told("incident", "A draft", is_published=False)
    answer = client.get("/status/feed.xml")
    assert answer["Content-Type"] == "application/rss+xml"
    (item,) = ElementTree.fromstring(answer.content).findall("channel/item")
    assert item.findtext("title") == "Incident: Slow & broken"
    assert item.findtext("description") == "Second <try>"
    assert item.findtext("link") == f"http://127.0.0.1:8000/status#event-{event.pk}"
    assert 'type="application/rss+xml"' in page_of(client)


# Subscriptions


def test_an_address_is_subscribed_once_its_owner_confirms(client: Client) -> None:
    assert client.post("/status/subscribe", {"email": "Reader@Example.com"}).status_code == 200
    assert not StatusSubscriber.objects.exists(), "nothing is stored before"
    link = link_to("Reader@Example.com", "/status/confirm/")
    assert client.get(link).status_code == 200
    assert not StatusSubscriber.objects.exists(), "mail scanners open links"
    for _ in range(2):
        assert client.post(link).status_code == 200
    assert [row.email for row in StatusSubscriber.objects.all()] == ["reader@example.com"]


def test_each_update_is_sent_once_and_unsubscribing_takes_one_click(
    client: Client, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_email, "apply_async", lambda args, **_: send_email(*args))
    for name in ("a", "b"):
        StatusSubscriber.objects.create(email=f"{name}@example.com")
    told("incident", "Slow answers", "We look into it.")
    told("incident", "A draft", is_published=False)
    told("incident", "Old news", starts_at=timezone.now() - 50 * HOUR)
    StatusUpdate.objects.filter(event__title="Old news").update(
        created_at=timezone.now() - 50 * HOUR
    )
    for expected in (1, 0):
        with django_capture_on_commit_callbacks(execute=True):
            assert send_status_updates() == expected
    assert sorted(email.to[0] for email in mail.outbox) == ["a@example.com", "b@example.com"]
    email = last_to("a@example.com")
    assert email.subject == "Incident: Slow answers"
    assert "We look into it." in email.body
    link = link_to("a@example.com", "/status/unsubscribe/")
    assert email.extra_headers["List-Unsubscribe"].endswith(f"{link}>")
    assert email.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert client.get(link).status_code == 200
    assert StatusSubscriber.objects.count() == 2, "opening it changes nothing"
    one_click = Client(enforce_csrf_checks=True)
    assert one_click.post(link, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert [row.email for row in StatusSubscriber.objects.all()] == ["b@example.com"]


@pytest.mark.parametrize("action", ["confirm", "unsubscribe"])
def test_a_forged_or_foreign_link_does_nothing(client: Client, action: str) -> None:
    StatusSubscriber.objects.create(email="a@example.com")
    client.post("/status/subscribe", {"email": "a@example.com"})
    token = link_to("a@example.com", "/status/confirm/").rpartition("/")[2]
    forged = token[:-1] + ("a" if token[-1] != "a" else "b")
    tokens = ["x", forged, *([token] if action == "unsubscribe" else [])]
    for each in tokens:
        assert client.post(f"/status/{action}/{each}").status_code == 404
    assert StatusSubscriber.objects.count() == 1


def test_subscribing_is_limited_by_address_and_by_sender(client: Client) -> None:
    answers = [client.post("/status/subscribe", {"email": "a@example.com"}) for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 200, 429]
    others = [client.post("/status/subscribe", {"email": f"{n}@example.com"}) for n in range(8)]
    assert others[-1].status_code == 429
    assert client.post("/status/subscribe", {"email": "none"}).status_code == 429


def test_what_is_no_address_is_refused(client: Client) -> None:
    assert client.post("/status/subscribe", {"email": "no address"}).status_code == 422
    assert mail.outbox == []


# Dashboards and the admin


@pytest.mark.parametrize(
    ("kind", "starts", "ends", "is_shown"),
    [
        ("incident", -1, None, True),
        ("incident", -2, -1, False),
        ("maintenance", 48, 50, True),
        ("maintenance", 100, 101, False),
        ("announcement", -1, None, True),
        ("announcement", -24 * 15, None, False),
        ("announcement", -24 * 15, 5, True),
        ("announcement", 1, None, False),
    ],
)
def test_dashboards_tell_what_matters_now(
    browser: Client, kind: str, starts: int, ends: int | None, is_shown: bool
) -> None:
    def at(hours: int) -> datetime:
        return timezone.now() + hours * HOUR

    ends_at = None if ends is None else at(ends)
    told(kind, "What <happens>", "Be patient.", starts_at=at(starts), ends_at=ends_at)
    page = browser.get("/dashboard").content.decode()
    assert ("What &lt;happens&gt;" in page) == is_shown
    assert ("Be patient." in page) == is_shown


def test_staff_write_and_end_an_incident(staff: Client, client: Client) -> None:
    form = {
        "kind": "incident",
        "title": "Slow answers",
        "impact": "degraded",
        "model_names": "glm-5.2, no-such-model",
        "starts_at_0": "2026-01-01",
        "starts_at_1": "10:00",
        "is_published": "on",
        "updates-TOTAL_FORMS": "1",
        "updates-INITIAL_FORMS": "0",
        "updates-0-text": "We look into it.",
        "updates-0-created_at_0": "2026-01-01",
        "updates-0-created_at_1": "10:05",
    }
    answer = staff.post("/admin/api/statusevent/add/", form)
    assert "Unknown models: no-such-model." in answer.content.decode()
    form["model_names"] = "glm-5.2"
    answer = staff.post("/admin/api/statusevent/add/", form)
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    event = StatusEvent.objects.get()
    assert "We look into it." in section(page_of(client), "Current and upcoming")
    action = {"action": "end_now", "_selected_action": [event.pk]}
    assert staff.post("/admin/api/statusevent/", action).status_code == 302
    assert "Slow answers" in section(page_of(client), "History")


def test_an_event_does_not_end_before_it_starts(staff: Client) -> None:
    form = {
        "kind": "maintenance",
        "title": "x",
        "impact": "none",
        "starts_at_0": "2026-01-02",
        "starts_at_1": "10:00",
        "ends_at_0": "2026-01-01",
        "ends_at_1": "10:00",
        "updates-TOTAL_FORMS": "0",
        "updates-INITIAL_FORMS": "0",
    }
    answer = staff.post("/admin/api/statusevent/add/", form)
    assert "It can&#x27;t end before it starts." in answer.content.decode()
