"""Emails about plans: a payment that failed, a plan that has ended; each to who may pay, once."""

import pytest

from accounts.models import Membership, NotificationSettings, Role, Team, User
from billing.models import PlanOffer
from portal.emails import sending, tasks
from tests.payments.conftest import StripeStandIn
from tests.payments.plan_helpers import (
    deliver_subscription_events,
    subscribed,
    switch_to_declined_card,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """The emails that go out: kind, address, subject and text."""
    emails: list[tuple[str, str, str]] = []

    def send(name: str, to: str, context: dict[str, object]) -> None:
        email = sending.write(name, to, context)
        emails.append((name, to, f"{email.subject}\n{email.body}"))

    monkeypatch.setattr("portal.emails.tasks.sending.send_later", send)
    return emails


@pytest.fixture
def late(
    stand_in: StripeStandIn, alice: User, bob: User, alices_team: Team, plus: PlanOffer
) -> str:
    """A plan whose second month failed, in a team with a developer and a bookkeeper."""
    bookkeeper = User.objects.create_user("books@example.com")
    Membership.objects.create(user=bookkeeper, team=alices_team, role=Role.BILLING)
    row = subscribed(stand_in, alices_team, alice, plus)
    switch_to_declined_card(stand_in, row)
    stand_in.control("renew", subscription=row.stripe_id)
    deliver_subscription_events(stand_in)
    return str(row.stripe_id)


def test_who_may_pay_hears_once_of_a_payment_that_failed(
    late: str, alice: User, sent: list[tuple[str, str, str]]
) -> None:
    NotificationSettings.objects.create(user=alice, low_balance=False, budget_reached=False)
    tasks.send_notices()
    tasks.send_notices()
    assert sorted(sent_to(sent, "plan_payment_failed")) == [
        "alice@example.com",
        "books@example.com",
    ]
    text = next(text for name, _, text in sent if name == "plan_payment_failed")
    assert "$20.00 for another month of Alice’s Plus plan" in text
    assert "/billing#card" in text


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("canceled", "has ended, and the team is now on Default"),
        ("unpaid", "until the open invoice"),
    ],
)
def test_who_may_pay_hears_once_that_the_plan_is_over(
    stand_in: StripeStandIn, late: str, sent: list[tuple[str, str, str]], outcome: str, said: str
) -> None:
    stand_in.control("give_up", subscription=late, outcome=outcome)
    deliver_subscription_events(stand_in)
    tasks.send_notices()
    tasks.send_notices()
    assert sorted(sent_to(sent, "plan_ended")) == ["alice@example.com", "books@example.com"]
    assert all(said in text for name, _, text in sent if name == "plan_ended")


def test_a_plan_that_runs_is_no_news(
    stand_in: StripeStandIn,
    alice: User,
    alices_team: Team,
    plus: PlanOffer,
    sent: list[tuple[str, str, str]],
) -> None:
    subscribed(stand_in, alices_team, alice, plus)
    tasks.send_notices()
    assert [name for name, _, _ in sent if name.startswith("plan_")] == []


def sent_to(sent: list[tuple[str, str, str]], name: str) -> list[str]:
    """Return the addresses that a kind of email went to."""
    return [to for kind, to, _ in sent if kind == name]
