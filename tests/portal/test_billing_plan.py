"""The plan on the billing page, and the pages that confirm a change of it."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import Membership, Role, Team, User
from billing.models import PlanOffer, Subscription
from billing.payments import plans
from tests.cast import signed_in
from tests.payments.conftest import StripeStandIn
from tests.payments.plan_helpers import (
    deliver_subscription_events,
    earned,
    granted,
    owner,
    plan_of,
    subscribed,
    switch_to_declined_card,
)
from tests.portal.parsed_page import visible_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def page_text(answer: Any) -> str:
    return visible_text(answer.content.decode())


def quote_of(answer: Any) -> str:
    """Return what a confirmation's form carries."""
    found = re.search(r'name="quote" value="([^"]+)"', answer.content.decode())
    assert found is not None
    return found[1]


def test_who_is_on_no_plan_sees_the_offers(
    stand_in: StripeStandIn, browser: Client, plus: PlanOffer, pro: PlanOffer
) -> None:
    page = page_text(browser.get("/billing"))
    assert "No subscription: you pay for what you use." in page
    assert "Choose Plus" in page
    assert "$20.00 a month" in page
    assert "$130.00 of credits a month, for 31 days" in page


def test_without_payments_nothing_is_offered(browser: Client, plus: PlanOffer) -> None:
    page = page_text(browser.get("/billing"))
    assert "Choose Plus" not in page


def test_a_plan_is_subscribed_to_and_had_on_return(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, plus: PlanOffer
) -> None:
    page = browser.get("/billing/plan/to/plus")
    assert "Charged now $20.00 plus tax" in page_text(page)
    answer = browser.post("/billing/plan/to/plus")
    assert answer.status_code == 303
    back = stand_in.pay(answer["Location"]).headers["location"]
    assert back == "http://testserver/billing/plan/begun"
    page = page_text(browser.get("/billing/plan/begun", follow=True))
    assert "Your team is now on Plus." in page
    assert "Plus renews on" in page
    assert (plan_of(alices_team), granted(alices_team)) == ("plus", [25])
    deliver_subscription_events(stand_in)
    assert granted(alices_team) == [25]


def test_the_return_page_gives_nothing_by_itself(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, plus: PlanOffer
) -> None:
    assert browser.get("/billing/plan/begun").status_code == 302
    browser.post("/billing/plan/to/plus")
    page = page_text(browser.get("/billing/plan/begun", follow=True))
    assert "The payment is not complete yet." in page
    assert (plan_of(alices_team), granted(alices_team)) == ("default", [])


def test_an_upgrade_charges_what_the_page_said(
    stand_in: StripeStandIn,
    browser: Client,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    pro: PlanOffer,
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    stand_in.control("age", id=row.stripe_id, seconds=10 * 24 * 3600)
    page = browser.get("/billing/plan/to/pro")
    charge = re.search(r"Pay \$([0-9.]+) and upgrade", page_text(page))
    assert charge is not None
    assert charge[1] == "53.34"
    answer = browser.post("/billing/plan/to/pro", {"quote": quote_of(page)}, follow=True)
    assert "Your team is now on Pro." in page_text(answer)
    assert (plan_of(alices_team), earned()) == ("pro", [20, 53.34])
    again = browser.post("/billing/plan/to/pro", {"quote": quote_of(page)})
    assert again.status_code == 409
    assert earned() == [20, 53.34]


@pytest.mark.parametrize("sealed", ["", "made up", "of another plan"])
def test_an_upgrade_needs_what_its_own_page_said(
    stand_in: StripeStandIn,
    browser: Client,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    pro: PlanOffer,
    sealed: str,
) -> None:
    subscribed(stand_in, alices_team, alice, plus)
    if sealed == "of another plan":
        sealed = quote_of(browser.get("/billing/plan/to/pro"))
        PlanOffer.objects.filter(pk=pro.pk).update(price_cents=20000)
    answer = browser.post("/billing/plan/to/pro", {"quote": sealed})
    assert answer.status_code == 409
    assert "The quote on this page expired." in page_text(answer)
    assert (plan_of(alices_team), earned()) == ("plus", [20])


def test_a_declined_card_is_said_and_changes_nothing(
    stand_in: StripeStandIn,
    browser: Client,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    pro: PlanOffer,
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    switch_to_declined_card(stand_in, row)
    sealed = quote_of(browser.get("/billing/plan/to/pro"))
    answer = browser.post("/billing/plan/to/pro", {"quote": sealed})
    assert answer.status_code == 402
    assert "Your card was not charged, and your plan is as it was." in page_text(answer)
    assert (plan_of(alices_team), earned()) == ("plus", [20])


def test_a_downgrade_says_when_it_comes_and_can_be_taken_back(
    stand_in: StripeStandIn,
    browser: Client,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    pro: PlanOffer,
) -> None:
    subscribed(stand_in, alices_team, alice, pro)
    page = browser.get("/billing/plan/to/plus")
    assert "Charged now Nothing , and nothing is refunded" in page_text(page)
    answer = browser.post("/billing/plan/to/plus", {"quote": quote_of(page)}, follow=True)
    assert "Plus begins on" in page_text(answer)
    assert "it becomes Plus , for $20.00 a month" in page_text(browser.get("/billing"))
    assert "Keep Pro?" in page_text(browser.get("/billing/plan/keep"))
    answer = browser.post("/billing/plan/keep", follow=True)
    assert "Your team stays on Pro." in page_text(answer)
    assert Subscription.objects.get().next_price is None


def test_a_plan_is_cancelled_after_a_page_that_says_what_ends(
    stand_in: StripeStandIn, browser: Client, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    subscribed(stand_in, alices_team, alice, plus)
    page = page_text(browser.get("/billing/plan/cancel"))
    assert "Granted credits stay until they expire." in page
    assert not Subscription.objects.get().cancel_at_period_end
    answer = page_text(browser.post("/billing/plan/cancel", follow=True))
    assert "Nothing more is charged." in answer
    assert "your team goes back to Default" in answer
    assert Subscription.objects.get().cancel_at_period_end
    assert "Keep Plus" in answer


def test_a_late_payment_is_a_banner_with_what_to_do(
    stand_in: StripeStandIn, browser: Client, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    row = subscribed(stand_in, alices_team, alice, plus)
    switch_to_declined_card(stand_in, row)
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    assert "The payment for your Plus plan failed." in page_text(browser.get("/billing"))
    stand_in.control("give_up", subscription=row.stripe_id, outcome="unpaid")
    deliver_subscription_events(stand_in)
    page = page_text(browser.get("/billing"))
    assert "Your Plus plan is unpaid, so your team is on Default." in page


def test_stripe_away_is_said(
    stand_in: StripeStandIn, browser: Client, alices_team: Team, plus: PlanOffer
) -> None:
    stand_in.control("fault", next=["error_before"] * 4)
    answer = browser.post("/billing/plan/to/plus")
    assert answer.status_code == 503
    assert "Stripe isn't responding." in page_text(answer)


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.BILLING, Role.DEVELOPER])
def test_who_may_see_billing_may_change_the_plan(
    stand_in: StripeStandIn,
    charlie: User,
    alices_team: Team,
    plus: PlanOffer,
    role: Role,
) -> None:
    Membership.objects.filter(user=charlie).delete()
    Membership.objects.create(user=charlie, team=alices_team, role=role)
    browser = signed_in(charlie)
    expected = 403 if role == Role.DEVELOPER else 200
    assert browser.get("/billing/plan/to/plus").status_code == expected
    posted = browser.post("/billing/plan/to/plus").status_code
    assert posted == (403 if role == Role.DEVELOPER else 303)


def test_another_team_s_plan_is_out_of_reach(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    charlie: User,
    plus: PlanOffer,
) -> None:
    subscribed(stand_in, alices_team, alice, plus)
    browser = signed_in(charlie)
    for action in ("cancel", "keep"):
        assert browser.get(f"/billing/plan/{action}").status_code == 404
        assert browser.post(f"/billing/plan/{action}").status_code == 404
    assert browser.get("/billing/plan/to/nothing").status_code == 404
    assert not Subscription.objects.get().cancel_at_period_end


def test_forms_need_their_token(
    stand_in: StripeStandIn, alice: User, alices_team: Team, plus: PlanOffer
) -> None:
    subscribed(stand_in, alices_team, alice, plus)
    browser = signed_in(alice, enforce_csrf_checks=True)
    for path in ("cancel", "keep", "to/plus"):
        assert browser.post(f"/billing/plan/{path}").status_code == 403


def test_the_pages_take_few_queries(
    stand_in: StripeStandIn,
    browser: Client,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    pro: PlanOffer,
    django_assert_max_num_queries: Any,
) -> None:
    row = subscribed(stand_in, alices_team, alice, pro)
    plans.change(owner(alices_team, alice), row, plus, at=row.created_at, attempt="one")
    for path in ("/billing", "/billing/plan/cancel", "/billing/plan/keep"):
        with django_assert_max_num_queries(15):
            assert browser.get(path).status_code == 200
