"""Auto top-up on the billing page: its form, its state, what is in its way, and its emails."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Membership, Role, Team, User
from billing.models import AutoTopUp, Order, PaymentCustomer
from portal.emails.sending import send_email
from portal.emails.tasks import send_notices
from tests.cast import signed_in

pytestmark = pytest.mark.django_db

DOLLAR = 10**9
FORM = {"is_enabled": "on", "threshold": "5", "amount": "$25.00", "monthly_limit": "1,000"}


@pytest.fixture(autouse=True)
def _payments_are_on(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_unused"
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"


@pytest.fixture
def card(alices_team: Team) -> PaymentCustomer:
    """The card of Alice's team."""
    return PaymentCustomer.objects.create(
        team=alices_team,
        stripe_id="cus_1",
        payment_method_id="pm_1",
        card_brand="visa",
        card_last_four="4242",
    )


def save(user: User, **changes: str) -> Any:
    form = {name: value for name, value in (FORM | changes).items() if value}
    return signed_in(user).post("/billing/auto-top-up", form)


def configure(team: Team, **changes: Any) -> AutoTopUp:
    fields = {
        "is_enabled": True,
        "threshold_nanos": 5 * DOLLAR,
        "amount_cents": 1000,
        "monthly_limit_cents": 5000,
    } | changes
    return AutoTopUp.objects.update_or_create(team=team, defaults=fields)[0]


def page(user: User) -> str:
    answer = signed_in(user).get("/billing")
    assert answer.status_code == 200
    return answer.content.decode()


# The form


def test_the_settings_are_kept_and_logged(alice: User, card: PaymentCustomer) -> None:
    assert save(alice)["Location"] == "/billing"
    row = AutoTopUp.objects.get()
    assert (row.is_enabled, row.threshold_nanos) == (True, 5 * DOLLAR)
    assert (row.amount_cents, row.monthly_limit_cents) == (2500, 100_000)
    entry = AuditEntry.objects.get(action="auto_top_up.changed")
    assert entry.detail == {
        "auto_top_up": "on",
        "below": "$5",
        "amount": "$25",
        "monthly_limit": "$1000",
    }
    shown = page(alice)
    assert 'value="$25"' in shown
    assert 'value="$1,000"' in shown
    assert "Bought this month" in shown

    save(alice, is_enabled="")
    row.refresh_from_db()
    assert not row.is_enabled
    assert AuditEntry.objects.latest("id").detail == {"auto_top_up": "off"}


def test_saving_forgets_what_went_wrong(
    alice: User, alices_team: Team, card: PaymentCustomer
) -> None:
    later = timezone.now() + timedelta(hours=1)
    configure(alices_team, problem="declined", failures=2, next_attempt_at=later, problem_at=later)
    save(alice)
    row = AutoTopUp.objects.get()
    assert (row.problem, row.failures, row.next_attempt_at, row.problem_at) == ("", 0, None, None)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"threshold": "0.99"}, "threshold", "Choose a balance from $1 to $10000."),
        ({"threshold": "10001"}, "threshold", "Choose a balance from $1 to $10000."),
        ({"amount": "4.99"}, "amount", "Choose an amount from $5 to $10,000."),
        ({"amount": "10000.01", "monthly_limit": "20000"}, "amount", "Choose an amount from"),
        ({"monthly_limit": "24.99"}, "monthly_limit", "allow at least one top-up"),
        ({"monthly_limit": "1000000.01"}, "monthly_limit", "Choose at most $1000000."),
        ({"threshold": ""}, "threshold", "This field is required."),
        ({"amount": "25,5"}, "amount", "Enter an amount in dollars, such as 25 or 12.50."),
        ({"amount": "1e3"}, "amount", "Enter an amount in dollars"),
        ({"monthly_limit": "9" * 30}, "monthly_limit", "at most 20 characters"),
    ],
)
def test_what_can_not_be_kept_is_said_beside_its_field(
    changes: dict[str, str], field: str, said: str, alice: User, card: PaymentCustomer
) -> None:
    answer = save(alice, **changes)
    assert answer.status_code == 422
    errors = re.search(rf'id="auto_{field}_error">(.*?)</div>', answer.content.decode(), re.DOTALL)
    assert errors is not None
    assert said in errors[1]
    assert not AutoTopUp.objects.exists()


def test_without_a_card_it_can_be_prepared_but_not_switched_on(
    alice: User, alices_team: Team
) -> None:
    answer = save(alice)
    assert answer.status_code == 422
    assert "Add a card first" in answer.content.decode()
    assert not AutoTopUp.objects.exists()
    assert save(alice, is_enabled="").status_code == 302
    assert not AutoTopUp.objects.get().is_enabled


def test_while_stripe_is_away_a_card_can_not_be_looked_for(
    alice: User, card: PaymentCustomer
) -> None:
    PaymentCustomer.objects.update(payment_method_id="")
    answer = save(alice)
    assert answer.status_code == 503
    assert "Try again in a minute." in answer.content.decode()


@pytest.mark.parametrize(("role", "status"), [("billing", 302), ("admin", 302), ("developer", 403)])
def test_who_may_pay_may_set_it(
    role: str, status: int, bob: User, alices_team: Team, card: PaymentCustomer
) -> None:
    Membership.objects.filter(user=bob, team=alices_team).update(role=role)
    client = signed_in(bob)
    client.post("/team/switch", {"team": alices_team.slug})
    assert client.post("/billing/auto-top-up", FORM).status_code == status
    assert AutoTopUp.objects.filter(team=alices_team).exists() == (status == 302)


def test_nobody_sets_another_teams(charlie: User, alices_team: Team, card: PaymentCustomer) -> None:
    save(charlie, is_enabled="")
    assert not AutoTopUp.objects.filter(team=alices_team).exists()
    assert Client().get("/billing/auto-top-up").status_code == 405


# What is in its way


@pytest.mark.parametrize(
    ("changes", "badge", "said", "offers_payment"),
    [
        (
            {"problem": "authentication_required"},
            "Paused",
            "Your bank requires you to confirm",
            True,
        ),
        ({"problem": "no_card"}, "Paused", "No card to charge.", True),
        ({"problem": "declined", "failures": 1}, "On", "Your card was declined", True),
        (
            {"problem": "declined", "failures": 4, "is_enabled": False},
            "Off",
            "Auto top-up was turned off:",
            True,
        ),
        ({"problem": "monthly_limit"}, "On", "limit is reached", False),
        ({}, "On", "Bought this month", False),
    ],
)
def test_the_page_says_what_is_in_its_way_and_what_mends_it(
    changes: dict[str, Any],
    badge: str,
    said: str,
    offers_payment: bool,
    alice: User,
    alices_team: Team,
    card: PaymentCustomer,
) -> None:
    now = timezone.now()
    configure(alices_team, problem_at=now, next_attempt_at=now + timedelta(hours=1), **changes)
    section = page(alice).partition('id="auto-top-up"')[2].partition("</section>")[0]
    assert f">{badge}</span>" in section
    assert said in section
    assert ("Pay $10.00 now" in section) == offers_payment
    if offers_payment:
        assert 'name="own" value="$10.00"' in section
    assert ("Save and resume" in section) == (badge == "Paused")


def test_without_payments_there_is_no_auto_top_up(alice: User, settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = ""
    assert 'id="auto-top-up"' not in page(alice)


# Emails


@pytest.fixture
def send_round(
    mailoutbox: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> Callable[[], list[Any]]:
    """Do a round of notices and return its emails."""
    monkeypatch.setattr(send_email, "apply_async", lambda arguments, **_: send_email(*arguments))

    def do() -> list[Any]:
        mailoutbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            send_notices()
        return list(mailoutbox)

    return do


Round = Callable[[], list[Any]]


def test_a_purchase_is_told_once_to_who_may_pay(
    alices_team: Team, bob: User, charlie: User, card: PaymentCustomer, send_round: Round
) -> None:
    Membership.objects.create(user=charlie, team=alices_team, role=Role.BILLING)
    Order.objects.create(
        team=alices_team,
        origin="auto_top_up",
        amount_cents=1000,
        credit_nanos=10 * DOLLAR,
        is_live=False,
        state="paid",
        payment_method_id="pm_1",
        payment_intent_id="pi_1",
        ended_at=timezone.now(),
    )
    emails = send_round()
    assert sorted(email.to[0] for email in emails) == [
        "alice@example.com",
        "charlie@example.com",
    ]
    email = emails[0]
    assert email.subject == "$10.00 of credits bought for Alice"
    assert "Charged: $10.00 to Visa ending in 4242" in email.body
    assert "/billing" in email.body
    assert send_round() == []


def test_what_a_person_bought_or_what_was_bought_long_ago_is_no_news(
    alices_team: Team, send_round: Round
) -> None:
    fields = {
        "team": alices_team,
        "amount_cents": 1000,
        "credit_nanos": 1,
        "is_live": False,
        "state": "paid",
    }
    now = timezone.now()
    Order.objects.create(payment_intent_id="pi_1", ended_at=now, **fields)
    old = {"origin": "auto_top_up", "ended_at": now - timedelta(days=2)}
    Order.objects.create(payment_intent_id="pi_2", **old, **fields)
    assert send_round() == []


@pytest.mark.parametrize(
    ("changes", "subject", "said"),
    [
        (
            {"problem": "authentication_required"},
            "Confirm a payment of $10.00 for Alice",
            "your bank requires you to confirm the payment of $10.00",
        ),
        ({"problem": "no_card"}, "Auto top-up for Alice has no card to charge", "is paused"),
        (
            {"problem": "declined", "failures": 1},
            "Your card was declined: auto top-up for Alice",
            "retry it in 1 hour,",
        ),
        (
            {"problem": "declined", "failures": 4, "is_enabled": False},
            "Auto top-up for Alice was turned off",
            "declined 4 times in a row",
        ),
        (
            {"problem": "monthly_limit"},
            "Alice reached its auto top-up limit",
            "exceed your monthly limit of $50.00",
        ),
    ],
)
def test_a_problem_is_told_once(
    changes: dict[str, Any], subject: str, said: str, alices_team: Team, send_round: Round
) -> None:
    configure(alices_team, problem_at=timezone.now(), **changes)
    (email,) = send_round()
    assert email.subject == subject
    assert said in email.body
    assert said in email.alternatives[0][0]
    assert "/billing#auto-top-up" in email.body
    assert send_round() == []


def test_declines_between_the_first_and_the_last_are_not_told(
    alices_team: Team, send_round: Round
) -> None:
    configure(alices_team, problem="declined", failures=2, problem_at=timezone.now())
    assert send_round() == []


def test_a_months_limit_is_told_once_a_month_however_often_it_is_met(
    alices_team: Team, send_round: Round
) -> None:
    configure(alices_team, problem="monthly_limit", problem_at=timezone.now())
    assert len(send_round()) == 1
    configure(
        alices_team, problem="monthly_limit", problem_at=timezone.now() + timedelta(seconds=1)
    )
    assert send_round() == []
    configure(alices_team, problem="monthly_limit", monthly_limit_cents=9000)
    assert len(send_round()) == 1
