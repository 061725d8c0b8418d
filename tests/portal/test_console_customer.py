"""A customer on one page: what is shown to whom, in dollars, and in how many queries."""

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import teams
from accounts.models import StaffNote, Team, User
from billing.models import CreditAccount, Dispute, ManualPosting, Order, UsageRecord
from tests.cast import signed_in
from tests.portal.filled import Filled, fill
from tests.portal.keys_pages import load_catalogue

pytestmark = pytest.mark.django_db

WORDS = "overloaded_error: req_011"


def page_of(team: Team) -> str:
    return f"/admin/customers/{team.pk}"


def clerk_with(*codenames: str) -> Client:
    """Return the browser of a member of staff with these permissions."""
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    assert clerk.user_permissions.count() == len(codenames)
    return signed_in(clerk)


@pytest.fixture
def filled(alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """Alice's team with some of everything."""
    load_catalogue(monkeypatch)
    found = fill(alice, alices_team, "Acme", "told the client")
    failed = UsageRecord.objects.filter(outcome="upstream_error").latest("created_at")
    failed.attempts = [{"upstream": "maker", "status": 529, "error": WORDS, "ms": 5}]
    failed.save()
    order = Order.objects.filter(team=alices_team, state="paid").latest("created_at")
    Dispute.objects.create(stripe_id="du_1", order=order, amount_cents=500, status="needs_response")
    ManualPosting.objects.create(
        team=alices_team, kind="goodwill", amount_nanos=2_500_000_000, reason="An outage"
    )
    StaffNote.objects.create(team=alices_team, text="Pays by transfer")
    Team.objects.filter(pk=alices_team.pk).update(tags=["vip"])
    return found


def test_everything_about_a_customer_is_on_the_page(staff: Client, filled: Filled) -> None:
    answer = staff.get(page_of(filled.team))
    assert answer.status_code == 200
    text = re.sub(r"\s+", " ", answer.content.decode())
    assert "/admin/billing/dispute/du_5F1/change/" in text
    for words in (
        *("alice@example.com", "$2.50", "An outage", "Pays by transfer", "vip", WORDS),
        *("told the client", "needs_response", filled.key.last_four, "$975.31", "key.created"),
        *("Usage, 30 days", "glm-5.2", "Balance by lot", "No open requests"),
    ):
        assert words in text, words
    assert not re.search(r"\b\d+ nanos|_nanos", text)
    for order in Order.objects.filter(team=filled.team):
        assert f"/admin/billing/order/{order.pk}/change/" in text
    for record in UsageRecord.objects.filter(outcome="upstream_error")[:3]:
        assert f"/admin/billing/usagerecord/{record.pk}/change/" in text


def test_an_empty_customer_has_a_page(
    staff: Client, charlies_account: CreditAccount, alices_team: Team
) -> None:
    page = staff.get(page_of(Team.objects.get(credit_account=charlies_account)))
    assert "No requests in the last 30 days" in page.content.decode()
    assert staff.get(page_of(alices_team)).status_code == 200, "without an account"
    assert staff.get("/admin/customers/999999").status_code == 404


def test_the_queries_do_not_grow_with_what_the_customer_has(
    staff: Client, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalogue(monkeypatch)
    fill(alice, alices_team, "Acme", many=2)
    bigger, team = teams.sign_up("bigger@example.com", None, "Bigger")
    fill(bigger, team, "Bigger", many=8)

    def queries(of: Team) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(page_of(of)).status_code == 200
        return len(captured)

    queries(alices_team)
    assert queries(team) == queries(alices_team)
    assert queries(team) <= 36


@pytest.mark.parametrize(
    ("permission", "section"),
    [
        ("view_creditaccount", "<dt>Available</dt>"),
        ("view_creditlot", "Balance by lot"),
        ("view_reservation", ">Holds<"),
        ("view_membership", ">Members<"),
        ("view_apikey", ">API keys</h2>"),
        ("view_order", ">Orders</h2>"),
        ("view_refund", ">Refunds</h2>"),
        ("view_dispute", ">Disputes</h2>"),
        ("view_manualposting", "Posted by staff"),
        ("view_usagehour", "Usage, 30 days"),
        ("view_usagerecord", "Last errors"),
        ("view_auditentry", ">Audit log</h2>"),
    ],
)
def test_a_section_is_shown_to_those_who_may_view_its_rows(
    filled: Filled, permission: str, section: str
) -> None:
    browser = clerk_with("view_team")
    assert section not in browser.get(page_of(filled.team)).content.decode()
    clerk = User.objects.get(email="clerk@example.com")
    clerk.user_permissions.add(Permission.objects.get(codename=permission))
    assert section in signed_in(clerk).get(page_of(filled.team)).content.decode()


def test_the_page_is_for_staff_who_may_view_teams(filled: Filled, alice: User) -> None:
    assert clerk_with("view_order").get(page_of(filled.team)).status_code == 403
    answer = signed_in(alice).get(page_of(filled.team))
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]


def test_the_admin_asks_for_a_second_factor_here_too(
    staff: Client, charlies_team: Team, settings: Any
) -> None:
    settings.STAFF_SECOND_FACTOR = True
    for path in (page_of(charlies_team), f"{page_of(charlies_team)}/grant", "/admin/search?q=a"):
        assert "/admin/login/" in staff.get(path)["Location"]


def test_staff_see_no_actions_on_a_team_of_their_own(filled: Filled) -> None:
    browser = clerk_with("view_team", "grant_credits")
    clerk = User.objects.get(email="clerk@example.com")
    assert f"{page_of(filled.team)}/grant" in browser.get(page_of(filled.team)).content.decode()
    filled.team.memberships.create(user=clerk, role="developer")
    page = browser.get(page_of(filled.team)).content.decode()
    assert f"{page_of(filled.team)}/grant" not in page
    assert "You belong to this team" in page
    form = {"id": str(uuid.uuid4()), "amount": "1", "reason": "me"}
    assert browser.post(f"{page_of(filled.team)}/grant", form).status_code == 403


# Search


def found(staff: Client, text: str) -> str:
    """Return where a search leads, or the titles it lists."""
    answer = staff.get("/admin/search", {"q": text})
    if answer.status_code == 302:
        return str(answer["Location"])
    return ", ".join(each.title for each in answer.context["found"].matches)


def test_one_match_leads_straight_there(staff: Client, filled: Filled, alice: User) -> None:
    customer = page_of(filled.team)
    record = filled.record
    record.upstream_request_id = "chatcmpl-upstream-1"
    record.end_user = "their-user-17"
    record.save()
    order = Order.objects.filter(team=filled.team).earliest("created_at")
    order_page = f"/admin/billing/order/{order.pk}/change/"
    request_page = f"/admin/billing/usagerecord/{record.pk}/change/"
    for text, url in (
        ("alice@example.com", customer),
        (" ALICE@example.com ", customer),
        (filled.team.slug, customer),
        (str(filled.team.pk), customer),
        ("vip", customer),
        ("their-user-17", customer),
        (str(record.pk), request_page),
        ("chatcmpl-upstream-1", request_page),
        (str(order.pk), order_page),
        (order.number, order_page),
        (order.number.lower(), order_page),
        (str(order.payment_intent_id), order_page),
        ("du_1", "/admin/billing/dispute/du_5F1/change/"),
        (f"cus_{filled.team.credit_account.pk}", customer),
    ):
        assert found(staff, text) == url, text
    assert found(staff, f"…{filled.key.last_four}") == customer


def test_a_key_is_found_by_its_last_four_characters(staff: Client, alices_key: Any) -> None:
    team = alices_key.key.team
    assert found(staff, alices_key.key.last_four) == page_of(team)


def test_several_matches_are_listed_and_nothing_says_so(
    staff: Client, alices_team: Team, charlies_team: Team
) -> None:
    Team.objects.update(name="Twins")
    assert found(staff, "twins") == "Twins, Twins"
    answer = staff.get("/admin/search", {"q": "no such thing"}).content.decode()
    assert "Nothing found for" in answer
    assert "Nothing found" not in staff.get("/admin/search").content.decode()


@pytest.mark.parametrize(
    "text",
    ["\0", "'", "%", "9" * 40, "é", "a" * 500, "<b>", "00000000-0000-0000-0000-000000000000"],
)
def test_a_search_for_anything_answers(staff: Client, filled: Filled, text: str) -> None:
    answer = staff.get("/admin/search", {"q": text, "before": "tomorrow"})
    assert answer.status_code == 200
    assert "<b>" not in answer.content.decode().split("<main")[-1].replace("<bdi>", "")


def test_an_upstreams_id_is_searched_day_by_day_for_a_while(
    staff: Client, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.console.search.SEARCH_SECONDS", 0)
    old = UsageRecord.objects.earliest("created_at")
    old.upstream_request_id = "upstream-old"
    old.save()
    days = (timezone.now().date() - old.created_at.date()).days
    assert days >= 1
    answer = staff.get("/admin/search", {"q": "upstream-old"})
    until = answer.context["found"].searched_until
    assert until is not None
    assert f"before={until}" in answer.content.decode()
    for _ in range(days):
        answer = staff.get("/admin/search", {"q": "upstream-old", "before": f"{until}"})
        if answer.status_code == 302:
            break
        until = answer.context["found"].searched_until
    assert answer["Location"] == f"/admin/billing/usagerecord/{old.pk}/change/"


def test_a_search_finds_only_what_the_member_of_staff_may_view(filled: Filled) -> None:
    browser = clerk_with("view_team")
    for text in ("alice@example.com", str(filled.record.pk), filled.key.last_four, "du_1"):
        assert found(browser, text) == "", text
    assert found(browser, filled.team.slug) == page_of(filled.team)
