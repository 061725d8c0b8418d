"""The pages of a team's webhooks, and the events that keys, budgets and jobs publish."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import key_actions
from accounts.access import Actor
from accounts.models import AuditEntry, Role, Team, User, WebhookDelivery, WebhookEndpoint
from api.jobs import poll
from api.jobs.poll import JobReport
from billing.models import KeySpend
from portal.emails.tasks import send_notices
from tests.api.test_videos import make_job
from tests.api.webhooks.receiver import endpoint_of, events_of
from tests.billing.ledger_calls import make_customer
from tests.cast import IssuedKey, everything_in_the_database, signed_in

pytestmark = pytest.mark.django_db

URL = "/team/webhooks"
HOOK = "https://example.com/hook"
FORM = {"url": HOOK, "events": ["balance.low", "job.failed"], "low_balance": "2.50"}


def add(browser: Client, **fields: Any) -> Any:
    return browser.post(f"{URL}/new", FORM | fields)


def secret_on(page: Any) -> str:
    found = re.search(r'<code id="secret">(whsec_[^<]+)</code>', page.content.decode())
    assert found is not None
    return found[1]


def test_an_endpoint_is_added_and_its_secret_shown_once(
    password_browser: Client, alices_team: Team
) -> None:
    page = add(password_browser)
    secret = secret_on(page)
    assert page["Cache-Control"].find("no-store") >= 0
    endpoint = WebhookEndpoint.objects.get(team=alices_team)
    assert endpoint.events == ["balance.low", "job.failed"]
    assert endpoint.low_balance_nanos == 2_500_000_000
    for address in (URL, f"{URL}/{endpoint.pk}", f"{URL}/{endpoint.pk}/edit"):
        text = password_browser.get(address).content.decode()
        assert HOOK in text
        assert secret not in text
    assert secret not in everything_in_the_database()
    assert AuditEntry.objects.get(action="webhook.created").subject == HOOK


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://example.com/"},
        {"url": "https://10.0.0.8/"},
        {"url": "https://metadata.google.internal/"},
        {"url": ""},
        {"events": ["nothing.happened"]},
        {"low_balance": "-1"},
        {"low_balance": "five"},
    ],
    ids=str,
)
def test_what_is_wrong_is_said_beside_it(password_browser: Client, fields: dict[str, Any]) -> None:
    page = add(password_browser, **fields)
    assert page.status_code == 400
    assert f'id="id_{next(iter(fields))}_error"' in page.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_a_team_has_at_most_ten(password_browser: Client, alices_team: Team) -> None:
    for _ in range(10):
        endpoint_of(alices_team, HOOK)
    assert add(password_browser).status_code == 400
    assert WebhookEndpoint.objects.count() == 10


def test_an_endpoints_life(password_browser: Client, alices_team: Team) -> None:
    endpoint, first = endpoint_of(alices_team, HOOK)
    address = f"{URL}/{endpoint.pk}"
    changed = FORM | {"url": "https://example.org/", "events": []}
    assert password_browser.post(f"{address}/edit", changed).status_code == 302
    assert secret_on(password_browser.post(f"{address}/rotate")) != first
    assert password_browser.post(f"{address}/test").status_code == 302
    delivery = WebhookDelivery.objects.get()
    assert delivery.event.type == "webhook.test"
    page = password_browser.get(f"{URL}/deliveries/{delivery.pk}").content.decode()
    assert delivery.event.message_id in page
    assert "This is a test event." in page
    assert password_browser.post(f"{URL}/deliveries/{delivery.pk}/replay").status_code == 409
    password_browser.post(f"{address}/disable")
    assert password_browser.post(f"{address}/test").status_code == 409
    delivery.refresh_from_db()
    assert delivery.state == "canceled"
    password_browser.post(f"{address}/enable")
    assert password_browser.post(f"{URL}/deliveries/{delivery.pk}/replay").status_code == 302
    delivery.refresh_from_db()
    assert delivery.state == "waiting"
    password_browser.post(f"{address}/delete")
    assert not WebhookDelivery.objects.exists()
    actions = AuditEntry.objects.filter(team=alices_team).order_by("pk")
    assert [each.action for each in actions if each.action.startswith("webhook")] == [
        *("webhook.created", "webhook.changed", "webhook.secret_rotated", "webhook.disabled"),
        *("webhook.enabled", "webhook.deleted"),
    ]


def test_the_log_says_what_came_of_it(browser: Client, alices_team: Team) -> None:
    endpoint, _ = endpoint_of(alices_team, HOOK)
    for _ in range(60):
        browser.post(f"{URL}/{endpoint.pk}/test")
    assert browser.post(f"{URL}/{endpoint.pk}/test").status_code == 429
    rows = WebhookDelivery.objects.order_by("-pk")
    WebhookDelivery.objects.filter(pk=rows[0].pk).update(
        status=503, excerpt="<b>overloaded</b>", attempts=2, duration_ms=41
    )
    WebhookDelivery.objects.filter(pk=rows[1].pk).update(problem="address", attempts=1)
    first = browser.get(f"{URL}/{endpoint.pk}")
    text = first.content.decode()
    assert ">503<" in text
    assert "The URL leads to no public address" in text
    older = browser.get(f"{URL}/{endpoint.pk}?before={first.context['deliveries'][-1].delivery.pk}")
    assert len(older.context["deliveries"]) == 10
    back = browser.get(f"{URL}/{endpoint.pk}?after={older.context['deliveries'][0].delivery.pk}")
    assert [each.delivery.pk for each in back.context["deliveries"]] == [
        each.delivery.pk for each in first.context["deliveries"]
    ]
    page = browser.get(f"{URL}/deliveries/{rows[0].pk}").content.decode()
    assert "&lt;b&gt;overloaded&lt;/b&gt;" in page
    assert "41 ms" in page


def test_a_developer_finds_no_webhooks(bob: User, alices_team: Team) -> None:
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    assert URL not in browser.get("/team").content.decode()


def test_new_keys_are_told_without_their_secret(alices_team: Team, alice: User) -> None:
    endpoint_of(alices_team, HOOK)
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    key, plaintext = key_actions.create_key(actor, "CI", prefix="sk-tg-", ip_address=None)
    successor, _ = key_actions.rotate_key(actor, key, 0, ip_address=None)
    (first, second) = events_of(alices_team)
    assert first[0] == "api_key.created"
    assert first[1]["api_key_id"] == str(key.pk)
    assert second[1]["api_key_id"] == str(successor.pk)
    assert second[1]["replaces"] == str(key.pk)
    assert plaintext not in str(first)


def test_a_reached_budget_is_told_once_at_each_percentage(
    alices_team: Team, alices_key: IssuedKey
) -> None:
    endpoint_of(alices_team, HOOK)
    key, now = alices_key.key, timezone.now()
    key.budget_day_nanos = 10 * 10**9
    key.save()
    spend = KeySpend.objects.create(
        key=key, day=now.date(), month=now.date().replace(day=1), day_nanos=9 * 10**9
    )
    for _ in range(2):
        send_notices()
    spend.day_nanos = 10 * 10**9
    spend.save()
    send_notices()
    told = [(data["percent"], data["budget_usd"]) for _, data in events_of(alices_team)]
    assert told == [(90, "10.000000000"), (100, "10.000000000")]
    assert {data["period"] for _, data in events_of(alices_team)} == {"daily"}


@pytest.mark.parametrize(
    ("report", "is_overdue", "kind", "state"),
    [
        (
            JobReport("completed", url="https://videos.invalid/1.mp4"),
            False,
            "completed",
            "completed",
        ),
        (JobReport("failed", error="too hard"), False, "failed", "failed"),
        (JobReport("unknown"), True, "failed", "expired"),
    ],
    ids=["completed", "failed", "expired"],
)
def test_the_end_of_a_job_is_told(
    report: JobReport, is_overdue: bool, kind: str, state: str
) -> None:
    customer = make_customer(1000)
    endpoint_of(customer.team, HOOK)
    job = make_job(customer)
    for _ in range(2):
        poll.conclude(job, report, is_overdue=is_overdue)
    ((told, data),) = events_of(customer.team)
    assert told == f"job.{kind}"
    assert (data["job_id"], data["state"], data["object"]) == (job.public_id, state, "video")
    assert data["cost_usd"] == ("0.000000200" if kind == "completed" else "0.000000000")


def test_a_notice_of_a_disabled_endpoint_is_not_sent_late(alices_team: Team) -> None:
    endpoint, _ = endpoint_of(alices_team, HOOK)
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(
        disabled_reason="failing", disabled_at=timezone.now() - timedelta(days=4)
    )
    assert send_notices() == 0
