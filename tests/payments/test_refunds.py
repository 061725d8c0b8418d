"""Refunds: of unspent paid credit unless forced, once at Stripe and once in the books."""

import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditEntry, Team, User
from billing import ledger
from billing.models import LedgerAlert, Order, Refund
from billing.payments import refunds, tasks
from billing.payments.refunds import RefundError
from billing.stripe_api.objects import Refund as StripeRefund
from tests.billing.customers import admit
from tests.payments.conftest import StripeStandIn, at_once
from tests.payments.given_back import (
    CENT,
    DOLLAR,
    booked,
    customer_of,
    moved,
    paid_order,
    posted,
    spend,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

CALL = "POST /v1/refunds"


def give_back(order: Order, cents: int, staff: User, **more: Any) -> Refund:
    """Asks for a refund as staff do."""
    options = {"reason": "Asked for by the customer", "is_forced": False} | more
    return refunds.request_refund(order, cents, staff=staff, **options)


def at_stripe(stand_in: StripeStandIn) -> list[int]:
    """Returns the amounts of the refunds that stand at Stripe, the oldest first."""
    found = stand_in.get("refunds", limit=100)["data"][::-1]
    return [each["amount"] for each in found if each["status"] in {"succeeded", "pending"}]


def make_old() -> None:
    """Lets the refunds have been asked for some minutes ago."""
    Refund.objects.update(created_at=timezone.now() - timedelta(minutes=5))


@pytest.fixture
def clerk(db: None) -> User:
    """Somebody of the operator's staff."""
    return User.objects.create_user("clerk@example.com", is_staff=True)


@pytest.fixture
def order(stand_in: StripeStandIn, alices_team: Team, alice: User) -> Order:
    """Ten dollars' worth of credits, paid."""
    return paid_order(stand_in, alices_team, alice)


@pytest.fixture
def taxed_order(stand_in: StripeStandIn, alices_team: Team, alice: User, settings: Any) -> Order:
    """$9.99 worth of credits, with ten per cent of tax."""
    settings.STRIPE_TAX = True
    order = paid_order(stand_in, alices_team, alice, 999)
    assert order.tax_cents == 100
    return order


# What is given back


def test_a_whole_order_goes_back(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    refund = give_back(order, 1000, clerk)

    assert (refund.state, refund.error, refund.requested_by) == ("succeeded", "", clerk)
    assert refund.ended_at is not None
    assert at_stripe(stand_in) == [1000]
    assert posted(alices_team) == 0
    assert moved(alices_team) == [("top_up", 10 * DOLLAR), ("refund", 10 * DOLLAR)]
    entry = AuditEntry.objects.get(action="refund.requested")
    assert (entry.actor, entry.subject) == (clerk, f"Order {order.number}")
    assert entry.detail["amount_cents"] == 1000
    assert {event.state for event in stand_in.tell_everything()} <= {"handled", "ignored"}
    assert Refund.objects.count() == 1
    assert posted(alices_team) == 0


def test_parts_add_up_to_the_cent_and_the_last_takes_the_rest(
    stand_in: StripeStandIn, taxed_order: Order, alices_team: Team, clerk: User
) -> None:
    parts = [give_back(taxed_order, cents, clerk) for cents in (333, 333, 332, 1)]

    assert [(part.amount_cents, part.tax_cents) for part in parts] == [
        *[(333, 33), (333, 33), (332, 33)],
        (1, 1),
    ]
    assert sum(at_stripe(stand_in)) == 999 + 100
    assert sum(part.credit_nanos for part in parts) == taxed_order.credit_nanos
    assert posted(alices_team) == 0
    with pytest.raises(RefundError, match=r"up to \$0\.00"):
        give_back(taxed_order, 1, clerk)


def test_what_is_spent_stays(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    spend(alices_team, 4 * DOLLAR)

    with pytest.raises(RefundError, match=r"Of this order \$6\.00 is unspent") as refused:
        give_back(order, 601, clerk)

    assert refused.value.field == "amount"
    assert not Refund.objects.exists()
    assert at_stripe(stand_in) == []
    assert give_back(order, 600, clerk).state == "succeeded"
    assert posted(alices_team) == 0


def test_gifts_are_not_paid_out(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    ledger.grant(ledger.open_account(alices_team), 5 * DOLLAR, reference="gift")
    spend(alices_team, 7 * DOLLAR)  # the gift first

    with pytest.raises(RefundError, match=r"\$8\.00 is unspent"):
        give_back(order, 801, clerk)
    assert give_back(order, 800, clerk).state == "succeeded"


def test_what_is_held_for_requests_stays(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    customer = customer_of(alices_team)
    admit(customer.ask(amount_nanos=3 * DOLLAR))

    with pytest.raises(RefundError, match=r"\$7\.00 is unspent"):
        give_back(order, 1000, clerk)
    assert give_back(order, 700, clerk).state == "succeeded"
    assert customer.balances == (3 * DOLLAR, 3 * DOLLAR)


def test_a_forced_refund_gives_away_what_is_spent(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    spend(alices_team, 8 * DOLLAR)

    refund = give_back(order, 1000, clerk, is_forced=True, reason="Our fault")

    assert (refund.state, refund.reason) == ("succeeded", "Our fault")
    assert posted(alices_team) == 0
    assert moved(alices_team, "refund") == [("refund", 2 * DOLLAR)]
    assert booked("goodwill") == [8 * DOLLAR]


@pytest.mark.parametrize("cents", [0, -1, 1001])
def test_no_more_than_the_order_and_no_less_than_a_cent(
    order: Order, clerk: User, cents: int
) -> None:
    with pytest.raises(RefundError, match=r"up to \$10\.00"):
        give_back(order, cents, clerk, is_forced=True)


def test_a_reason_is_asked_for(order: Order, clerk: User) -> None:
    with pytest.raises(RefundError) as refused:
        give_back(order, 100, clerk, reason="  ", is_forced=True)
    assert refused.value.field == "reason"


def test_an_order_that_is_not_paid_is_not_refunded(order: Order, clerk: User) -> None:
    Order.objects.update(state="open")
    with pytest.raises(RefundError, match="not paid"):
        give_back(order, 100, clerk)


def test_a_disputed_payment_is_not_refunded(
    stand_in: StripeStandIn, order: Order, clerk: User
) -> None:
    stand_in.control("dispute", charge=order.charge_id)
    stand_in.tell_everything()
    with pytest.raises(RefundError, match="disputed"):
        give_back(order, 100, clerk, is_forced=True)


# What Stripe makes of it


def test_what_stripe_refuses_is_given_again_once(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("dispute", charge=order.charge_id, amount=1)  # not told to us

    refund = give_back(order, 1000, clerk)
    refunds.submit(refund)

    assert (refund.state, "charged back" in refund.error) == ("failed", True)
    assert posted(alices_team) == 10 * DOLLAR
    assert moved(alices_team)[1:] == [("refund", 10 * DOLLAR), ("refund_reversal", 10 * DOLLAR)]


@pytest.mark.parametrize("end", ["failed", "canceled"])
@pytest.mark.parametrize("start", ["pending", "succeeded"])
def test_what_fails_later_is_given_again_once(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User, start: str, end: str
) -> None:
    stand_in.control("next_refunds", statuses=[start])
    refund = give_back(order, 400, clerk)
    assert (refund.state, posted(alices_team)) == (start, 6 * DOLLAR)

    stand_in.control("finish_refund", refund=refund.stripe_id, status=end)
    stand_in.tell_everything()
    stand_in.tell(*stand_in.events("refund.created")[::-1])

    refund.refresh_from_db()
    assert refund.state == end
    assert posted(alices_team) == 10 * DOLLAR
    assert moved(alices_team, "refund_reversal") == [("refund_reversal", 4 * DOLLAR)]
    assert give_back(order, 1000, clerk).state == "succeeded"  # all of it is there again


def test_a_forced_refund_that_fails_ends_its_goodwill(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    spend(alices_team, 9 * DOLLAR)
    refund = give_back(order, 1000, clerk, is_forced=True)

    stand_in.control("finish_refund", refund=refund.stripe_id, status="failed")
    stand_in.tell_everything()

    assert posted(alices_team) == 1 * DOLLAR
    assert booked("goodwill") == booked("goodwill_reversal") == [9 * DOLLAR]


def test_a_webhook_that_was_lost_is_found_by_the_hourly_look(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("next_refunds", statuses=["pending"])
    refund = give_back(order, 400, clerk)
    stand_in.control("finish_refund", refund=refund.stripe_id, status="failed")

    assert tasks.check_money_back() == 1

    refund.refresh_from_db()
    assert (refund.state, posted(alices_team)) == ("failed", 10 * DOLLAR)
    assert tasks.check_money_back() == 0


TROUBLES = ["error_before", "error_after", "error_kept", "hang_before", "hang_after"]


@pytest.mark.parametrize("trouble", TROUBLES)
def test_stripe_failing_or_silent_never_makes_two_refunds(
    stand_in: StripeStandIn,
    order: Order,
    alices_team: Team,
    clerk: User,
    settings: Any,
    trouble: str,
) -> None:
    settings.STRIPE_TIMEOUT_SECONDS = 0.4
    stand_in.control("trouble", next=[trouble] * 2, call=CALL, hang_seconds=0.8)

    refund = give_back(order, 400, clerk)
    assert tasks.submit_requested_refunds() == 0  # it is too fresh to be asked for again
    make_old()
    for _ in range(3):
        tasks.submit_requested_refunds()

    refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert at_stripe(stand_in) == [400]
    assert posted(alices_team) == 6 * DOLLAR
    assert moved(alices_team, "refund") == [("refund", 4 * DOLLAR)]


def test_while_stripe_is_away_a_refund_waits_and_its_credits_with_it(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("trouble", next=["error_before"] * 4)
    refund = give_back(order, 400, clerk)
    make_old()
    assert tasks.submit_requested_refunds() == 0
    assert (refund.state, posted(alices_team)) == ("requested", 6 * DOLLAR)

    assert tasks.submit_requested_refunds() == 1
    assert at_stripe(stand_in) == [400]


class ProcessDiedError(BaseException):
    """Stands for SIGKILL: nothing of the caller's handles it."""


@pytest.mark.parametrize("point", ["after_refund_booked", "after_refund_submitted"])
def test_killed_before_stripes_answer_is_booked_it_is_asked_for_again_once(
    stand_in: StripeStandIn,
    order: Order,
    alices_team: Team,
    clerk: User,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    def die(name: str) -> None:
        if name == point:
            raise ProcessDiedError

    with monkeypatch.context() as armed:
        armed.setattr(refunds, "failpoint", die)
        with pytest.raises(ProcessDiedError):
            give_back(order, 400, clerk)
    refund = Refund.objects.get()
    assert (refund.state, posted(alices_team)) == ("requested", 6 * DOLLAR)

    make_old()
    assert [tasks.submit_requested_refunds() for _ in range(3)] == [1, 0, 0]

    refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert at_stripe(stand_in) == [400]
    assert posted(alices_team) == 6 * DOLLAR


def test_a_dispute_that_came_first_ends_a_request_that_waits(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    stand_in.control("trouble", next=["error_before"] * 2, call=CALL)
    refund = give_back(order, 400, clerk)
    stand_in.control("dispute", charge=order.charge_id)
    stand_in.tell_everything()

    refund.refresh_from_db()
    assert (refund.state, refund.error) == ("failed", "The payment was disputed first.")
    assert order.disputes.get().credit_nanos == 10 * DOLLAR
    assert posted(alices_team) == 0
    make_old()
    tasks.submit_requested_refunds()
    assert at_stripe(stand_in) == []


# Stripe's dashboard


def test_a_refund_made_at_stripe_takes_its_credits(
    stand_in: StripeStandIn, taxed_order: Order, alices_team: Team
) -> None:
    stand_in.control("refund", charge=taxed_order.charge_id, amount=500)
    stand_in.tell_everything()

    refund = Refund.objects.get()
    assert (refund.state, refund.is_forced, refund.requested_by) == ("succeeded", True, None)
    assert refund.reason == refunds.MADE_AT_STRIPE
    assert refund.amount_cents + refund.tax_cents == 500
    assert refund.credit_nanos == 999 * CENT * 500 // 1099
    assert posted(alices_team) == 999 * CENT - refund.credit_nanos

    stand_in.control("refund", charge=taxed_order.charge_id)
    stand_in.tell_everything()
    assert posted(alices_team) == 0
    assert sum(Refund.objects.values_list("credit_nanos", flat=True)) == 999 * CENT


def test_a_refund_made_at_stripe_of_spent_credit_is_the_operators_loss(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    spend(alices_team, 9 * DOLLAR)
    stand_in.control("refund", charge=order.charge_id)
    stand_in.tell_everything()

    assert posted(alices_team) == 0
    assert booked("goodwill") == [9 * DOLLAR]


def test_a_refund_of_an_order_of_which_nothing_is_left_is_for_staff(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    give_back(order, 1000, clerk)
    news = StripeRefund(
        id="re_more",
        payment_intent_id=order.payment_intent_id or "",
        amount_cents=5,
        currency="usd",
        status="succeeded",
        failure="",
        request="",
        created_at=datetime.now(UTC),
    )

    assert refunds.note_refund(order, news) is None

    assert LedgerAlert.objects.get().kind == "refund_of_nothing"
    assert posted(alices_team) == 0


def test_a_refund_of_somebody_elses_payment_is_ignored(stand_in: StripeStandIn) -> None:
    intent = stand_in.http.post(
        f"{stand_in.url}/v1/payment_intents",
        headers={"authorization": "Bearer sk_test"},
        data={"amount": 500, "confirm": "true", "payment_method": "pm_card_visa"},
    ).json()
    stand_in.control("refund", payment_intent=intent["id"])

    told = stand_in.tell(*stand_in.events("refund.created", "charge.refunded"))

    assert [event.state for event in told] == ["ignored", "ignored"]
    assert not Refund.objects.exists()


# At once


@pytest.mark.django_db(transaction=True)
def test_ten_clicks_on_one_form_are_one_refund(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    number = uuid.uuid4()
    click = partial(give_back, order, 400, clerk, refund_id=number)

    found = at_once(*[click] * 10)

    assert {refund.pk for refund in found} == {number}
    make_old()
    tasks.submit_requested_refunds()
    assert Refund.objects.get().state == "succeeded"
    assert at_stripe(stand_in) == [400]
    assert posted(alices_team) == 6 * DOLLAR
    assert AuditEntry.objects.filter(action="refund.requested").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_ten_of_staff_who_refund_all_of_it_one_does(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    def click() -> str:
        try:
            return str(give_back(order, 1000, clerk, is_forced=True).state)
        except RefundError:
            return "refused"

    assert sorted(at_once(*[click] * 10)) == ["refused"] * 9 + ["succeeded"]
    assert at_stripe(stand_in) == [1000]
    assert posted(alices_team) == 0


@pytest.mark.django_db(transaction=True)
def test_one_webhook_ten_times_at_once_has_one_effect(
    stand_in: StripeStandIn, order: Order, alices_team: Team
) -> None:
    stand_in.control("refund", charge=order.charge_id, amount=400)
    events = stand_in.events("refund.created", "charge.refunded", "refund.updated")

    at_once(*[partial(stand_in.tell, *events)] * 10)

    assert Refund.objects.get().state == "succeeded"
    assert moved(alices_team, "refund") == [("refund", 4 * DOLLAR)]


@pytest.mark.django_db(transaction=True)
def test_a_refund_that_races_requests_is_refused_or_exact(
    stand_in: StripeStandIn, order: Order, alices_team: Team, clerk: User
) -> None:
    customer = customer_of(alices_team)

    def use() -> str:
        return str(admit(customer.ask(amount_nanos=2 * DOLLAR))[0].code)

    def click() -> str:
        try:
            return str(give_back(order, 600, clerk).state)
        except RefundError:
            return "refused"

    *used, outcome = at_once(*[use] * 5, click)

    held = used.count("admitted") * 2 * DOLLAR
    taken = 6 * DOLLAR if outcome == "succeeded" else 0
    assert customer.balances == (10 * DOLLAR - taken, held)
    assert held + taken <= 10 * DOLLAR
    assert at_stripe(stand_in) == ([600] if taken else [])
