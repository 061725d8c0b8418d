"""The overview: today against a week ago, thirty days as a chart, and what needs attention."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import teams
from accounts.models import User
from api.models import Upstream
from billing import models
from billing.ledger import postings
from portal.console.attention import concerns_for
from portal.console.overview import figures_of_today
from tests.cast import signed_in
from tests.portal.serving import NOON

pytestmark = pytest.mark.django_db

HOUR = NOON.replace(minute=0)
WEEK = timedelta(days=7)
DOLLAR = 10**9


def service_hour(at: Any, model: str = "small", upstream: str = "maker", **sums: int) -> None:
    usual = {"requests": 4, "charged_nanos": 4 * DOLLAR, "upstream_cost_nanos": DOLLAR}
    models.ServiceHour.objects.create(hour=at, model=model, upstream=upstream, **(usual | sums))


def test_today_is_compared_with_the_same_hours_of_a_week_ago(at_noon: None) -> None:
    service_hour(HOUR, input_tokens=70, output_tokens=30)
    service_hour(HOUR - timedelta(hours=2), errors=1)
    service_hour(HOUR - WEEK)  # half of it has passed
    service_hour(HOUR - WEEK - timedelta(hours=1), errors=3)
    service_hour(HOUR - WEEK + timedelta(hours=1), requests=1000)  # not yet
    service_hour(HOUR - timedelta(days=1), requests=1000)  # yesterday
    found = {each.title: (each.today, each.week_ago) for each in figures_of_today()}
    assert found["Revenue"] == (8 * DOLLAR, 6 * DOLLAR)
    assert found["Upstream cost"] == (2 * DOLLAR, DOLLAR + DOLLAR // 2)
    assert found["Margin"] == (6 * DOLLAR, 4 * DOLLAR + DOLLAR // 2)
    assert found["Tokens"] == (100, 0)
    assert found["Requests"] == (8, 6)
    assert found["Errors"] == (1, 3)


def test_sign_ups_top_ups_and_active_teams_are_counted(at_noon: None) -> None:
    user, team = teams.sign_up("new@example.com", None, "New")
    User.objects.update(created_at=NOON - timedelta(minutes=1))
    account = postings.open_account(team)
    for ago, state in ((timedelta(0), "paid"), (WEEK, "paid"), (timedelta(0), "failed")):
        models.Order.objects.create(
            team=team,
            user=user,
            amount_cents=1250,
            credit_nanos=1,
            is_live=False,
            state=state,
            payment_intent_id=f"pi_{uuid.uuid4()}",
            ended_at=NOON - ago - timedelta(minutes=1),
        )
    key = team.api_keys.create(
        name="k", prefix="p", last_four="0000", digest=b"1", pepper_version=1
    )
    models.UsageHour.objects.create(hour=HOUR, account=account, key=key, model="small")
    found = {each.title: (each.today, each.week_ago) for each in figures_of_today()}
    assert found["Sign-ups"] == (1, 0)
    assert found["Top-ups"] == (12_500_000_000, 12_500_000_000)
    assert found["Active teams"] == (1, 0)


def fill(days: int, names: int) -> None:
    """Make hours of models and upstreams, and days of teams."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    models.ServiceHour.objects.bulk_create(
        models.ServiceHour(
            hour=now - timedelta(days=day),
            model=f"model-{name}",
            upstream=f"maker-{name % 3}",
            requests=name + 1,
            charged_nanos=DOLLAR * (name + 1),
            upstream_cost_nanos=DOLLAR * 3,
        )
        for day in range(days)
        for name in range(names)
    )
    for name in range(names):
        _, team = teams.sign_up(f"user{name}.{days}@example.com", None, f"Team {name} of {days}")
        account = postings.open_account(team)
        models.TeamDay.objects.bulk_create(
            models.TeamDay(
                day=(now - timedelta(days=day)).date(),
                account=account,
                requests=1,
                charged_nanos=DOLLAR * (name + 1),
            )
            for day in range(days)
        )


@pytest.mark.parametrize("dimension", ["model", "upstream", "team", "plan"])
@pytest.mark.parametrize("measure", ["revenue", "margin", "calls"])
def test_thirty_days_are_a_chart_by_each_dimension(
    staff: Client, dimension: str, measure: str
) -> None:
    fill(40, 8)
    answer = staff.get("/admin/", {"by": dimension, "show": measure})
    chart = answer.context["chart"]
    assert len(chart.places) == 30
    assert len(chart.lines) <= 6
    whole = sum(sum(line.values) for line in chart.lines)
    per_day = {
        "revenue": 36 * DOLLAR,
        "margin": (36 if dimension in {"team", "plan"} else 12) * DOLLAR,
        "calls": 8 if dimension in {"team", "plan"} else 36,
    }[measure]
    assert whole == 30 * per_day
    page = answer.content.decode()
    links = {"model": "/admin/api/model/", "upstream": "/admin/api/upstream/"}
    links |= {"team": "/admin/customers/", "plan": "/admin/accounts/team/?plan"}
    assert links[dimension] in page.partition("Sums by")[2]
    if dimension == "model":
        assert chart.lines[-1].name == "All others"


def test_a_day_leads_to_its_hours(staff: Client) -> None:
    fill(2, 2)
    day = timezone.now().date()
    page = staff.get("/admin/")
    assert chart_link(day) in page.content.decode()
    hours = staff.get("/admin/", {"by": "model", "show": "revenue", "day": f"{day}"})
    assert len(hours.context["chart"].places) == 24
    assert sum(sum(line.values) for line in hours.context["chart"].lines) == 3 * DOLLAR
    for odd in ("yesterday", "9999-99-99", "0001-01-01"):
        assert staff.get("/admin/", {"day": odd, "by": "x", "show": "y"}).status_code == 200


def chart_link(day: Any) -> str:
    return f"?by=model&amp;show=revenue&amp;day={day}"


def test_the_page_takes_few_queries_and_reads_no_request(staff: Client) -> None:
    def queries(query: dict[str, str]) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            assert staff.get("/admin/", query).status_code == 200
        return [each["sql"] for each in captured]

    queries({})
    empty = len(queries({"by": "team"}))
    fill(30, 12)
    for dimension in ("model", "upstream", "team", "plan"):
        found = queries({"by": dimension})
        assert len(found) <= empty + 4
        assert len(found) <= 34
        assert not [sql for sql in found if "billing_usagerecord" in sql]
        assert not [sql for sql in found if "billing_transfer" in sql]


def test_an_empty_service_has_an_overview(staff: Client) -> None:
    page = staff.get("/admin/").content.decode()
    assert "No requests in this period." in page
    assert "Celery has not run yet" in page


# What needs attention


def concerns(*permissions: str) -> dict[str, str]:
    """Return the concerns of staff with these permissions (or all), with their URLs."""
    user = User(is_superuser=not permissions)
    if permissions:
        user = User.objects.create_user(f"{uuid.uuid4()}@example.com", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return {each.text: each.url for each in concerns_for(user)}


def all_is_well() -> None:
    now = timezone.now()
    for name in ("roll up usage", "prove the ledger"):
        models.TaskRun.objects.create(name=name, finished_at=now)


def test_nothing_needs_attention_when_all_is_well(staff: Client) -> None:
    all_is_well()
    assert concerns() == {}
    assert "Nothing needs attention." in staff.get("/admin/").content.decode()


def test_each_concern_links_to_the_page_that_handles_it(staff: Client, alice: User) -> None:
    all_is_well()
    now, team = timezone.now(), alice.teams.get()
    order = models.Order.objects.create(team=team, amount_cents=100, credit_nanos=1, is_live=False)
    models.LedgerAlert.objects.create(kind="hold_overrun", reference="1", detail="")
    models.LedgerAlert.objects.create(kind="hold_overrun", reference="2", detail="", handled_at=now)
    due = now + timedelta(hours=5)
    models.Dispute.objects.create(
        stripe_id="du_1", order=order, amount_cents=100, status="x", evidence_due_at=due
    )
    models.FraudWarning.objects.create(stripe_id="issfr_1", order=order, fraud_type="x")
    refund = models.Refund.objects.create(order=order, amount_cents=1, credit_nanos=1, reason="x")
    models.Refund.objects.filter(pk=refund.pk).update(created_at=now - timedelta(hours=1))
    models.ManualPosting.objects.create(team=team, kind="grant", amount_nanos=1, reason="x")
    models.StripeEvent.objects.create(
        id="evt_1", type="t", object_id="o", created_at=now, state="failed"
    )
    upstream = Upstream.objects.create(name="maker", base_url="http://127.0.0.1/v1")
    service_hour(now - timedelta(minutes=5), requests=6, errors=4, upstream_cost_nanos=9 * DOLLAR)
    models.TaskRun.objects.filter(pk="roll up usage").update(finished_at=now - timedelta(minutes=9))
    found = concerns()
    expected = [
        "1 alert: hold overrun",
        f"Dispute of Order {order.number}, evidence due {due:%Y-%m-%d %H:%M} UTC",
        "1 early fraud warning",
        "1 refund is stuck: Stripe has not responded",
        "1 posting to confirm",
        "1 Stripe event failed",
        "maker is failing: 4 of 6 requests in two hours",
        "small at maker lost $5.00 in a day",
    ]
    assert set(expected) <= set(found)
    assert [text for text in found if text.startswith("Celery is late")]
    assert len(found) == len(expected) + 1
    assert found[expected[6]] == f"/admin/api/upstream/{upstream.pk}/change/"
    for url in found.values():
        assert staff.get(url).status_code == 200, url
    page = staff.get("/admin/").content.decode()
    assert page.index("Dispute of Order") < page.index("1 early fraud warning"), "urgent first"


def test_staff_see_the_concerns_and_figures_that_they_may_view() -> None:
    models.LedgerAlert.objects.create(kind="hold_overrun", reference="1", detail="")
    assert concerns("view_team") == {}
    assert list(concerns("view_ledgeralert")) == ["1 alert: hold overrun"]
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    page = signed_in(clerk).get("/admin/").content.decode()
    assert "Revenue" not in page
    clerk.groups.add(Group.objects.get(name="Auditor"))
    assert "Revenue" in signed_in(clerk).get("/admin/").content.decode()
