"""Handling of events: each is kept until it is handled, whatever dies or fails meanwhile."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Team, User
from billing.models import LedgerAlert, Order, StripeEvent, Transfer
from billing.payments import tasks, webhooks
from billing.payments.webhooks import HANDLERS
from tests.payments.conftest import StripeStandIn, checkout, run_concurrently

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

TYPE = "checkout.session.completed"


def paid_order(stand_in: StripeStandIn, team: Team, user: User) -> dict[str, Any]:
    """Return the event of a payment that is not booked yet."""
    stand_in.pay(checkout(team, user)[1])
    return stand_in.events(TYPE)[-1]


def receive(number: str = "evt_1", kind: str = TYPE) -> StripeEvent:
    """Store an event as received."""
    return StripeEvent.objects.create(
        id=number, type=kind, object_id="cs_1", created_at=timezone.now()
    )


def let_time_pass(**time: float) -> None:
    for event in StripeEvent.objects.all():
        event.next_attempt_at -= timedelta(**time)
        event.save()


def answers(monkeypatch: pytest.MonkeyPatch, *outcomes: Exception | str) -> list[str]:
    """Let the handler give these outcomes in turn. Return the list of object ids it gets."""
    coming, asked = iter(outcomes), []

    def handler(object_id: str) -> str:
        asked.append(object_id)
        outcome = next(coming)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setitem(HANDLERS, TYPE, handler)
    return asked


def test_a_handled_event_stores_its_outcome(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    (event,) = stand_in.deliver(paid_order(stand_in, alices_team, alice))

    assert (event.state, event.attempts) == ("handled", 1)
    assert event.outcome == f"Order {Order.objects.get().number} is paid."
    assert event.ended_at is not None
    assert webhooks.handle(event.pk) is None


def test_an_event_that_fails_is_kept_backed_off_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answers(monkeypatch, ValueError("a bug"), ValueError("a bug"), "Done.")
    event = receive()

    pauses = []
    for _ in range(2):
        before = timezone.now()
        assert tasks.handle_due_stripe_events() == 1
        event.refresh_from_db()
        assert (event.state, event.outcome) == ("failed", "ValueError: a bug")
        assert event.ended_at is None
        pauses.append(event.next_attempt_at - before)
        assert tasks.handle_due_stripe_events() == 0  # not yet
        let_time_pass(hours=1)
    assert timedelta(0) < pauses[0] < pauses[1] <= timedelta(hours=1)

    tasks.handle_due_stripe_events()

    event.refresh_from_db()
    assert (event.state, event.outcome, event.attempts) == ("handled", "Done.", 3)
    assert asked == ["cs_1"] * 3


def test_an_event_that_keeps_failing_raises_one_alert(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers(monkeypatch, *[ValueError("a bug")] * 20)
    event = receive()

    for attempt in range(1, 21):
        webhooks.handle(event.pk)
        let_time_pass(hours=2)
        assert LedgerAlert.objects.count() == (attempt >= webhooks.ATTEMPTS_BEFORE_ALERT)

    alert = LedgerAlert.objects.get()
    assert (alert.kind, alert.reference) == ("stripe_event", "evt_1")
    assert "a bug" in alert.detail
    event.refresh_from_db()
    assert event.state == "failed"
    assert event.next_attempt_at + timedelta(hours=2) <= timezone.now() + webhooks.MAX_RETRY_DELAY


def test_an_event_whose_worker_died_is_followed_by_another_after_the_lease(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dies(_object_id: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setitem(HANDLERS, TYPE, dies)
    event = receive()
    with pytest.raises(KeyboardInterrupt):
        webhooks.handle(event.pk)
    answers(monkeypatch, "Done.")

    assert webhooks.handle(event.pk) is None
    assert tasks.handle_due_stripe_events() == 0
    let_time_pass(seconds=webhooks.LEASE.total_seconds())
    assert tasks.handle_due_stripe_events() == 1

    event.refresh_from_db()
    assert (event.state, event.attempts) == ("handled", 2)


def test_a_worker_slower_than_the_lease_does_not_overwrite_the_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = receive()

    def is_overtaken(_object_id: str) -> str:
        let_time_pass(seconds=webhooks.LEASE.total_seconds())
        answers(monkeypatch, "Done by the second.")
        webhooks.handle(event.pk)
        raise ValueError("the first, at last")

    monkeypatch.setitem(HANDLERS, TYPE, is_overtaken)
    webhooks.handle(event.pk)

    event.refresh_from_db()
    assert (event.state, event.outcome) == ("handled", "Done by the second.")


@pytest.mark.django_db(transaction=True)
def test_two_workers_never_handle_one_event_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answers(monkeypatch, *["Done."] * 10)
    event = receive()

    handled = run_concurrently(*[partial(webhooks.handle, event.pk)] * 10)

    assert asked == ["cs_1"]
    assert len([each for each in handled if each is not None]) == 1


def test_while_stripe_is_away_a_round_gives_up_soon_and_loses_nothing(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    sent = [paid_order(stand_in, alices_team, alice) for _ in range(8)]
    for event in sent:
        stand_in.post(event)
    stand_in.control("fault", next=["error_before"] * 100)

    assert tasks.handle_due_stripe_events() == tasks.MAX_CONSECUTIVE_FAILURES

    stand_in.control("fault", next=[])
    let_time_pass(hours=1)
    assert tasks.handle_due_stripe_events() == 8
    assert Transfer.objects.filter(kind="top_up").count() == 8


@pytest.mark.parametrize("fault", ["error_before", "hang_before", "rate_limit"])
def test_stripe_failing_while_an_event_is_handled_only_delays_it(
    stand_in: StripeStandIn, alice: User, alices_team: Team, settings: Any, fault: str
) -> None:
    sent = paid_order(stand_in, alices_team, alice)
    settings.STRIPE_TIMEOUT_SECONDS = 0.5
    stand_in.control("fault", next=[fault] * 2, hang_seconds=0.8)

    (event,) = stand_in.deliver(sent)
    assert event.state == "failed"
    assert "StripeUnavailableError" in event.outcome

    settings.STRIPE_TIMEOUT_SECONDS = 10
    stand_in.control("fault", next=[])
    let_time_pass(hours=1)
    tasks.handle_due_stripe_events()
    assert Transfer.objects.filter(kind="top_up").count() == 1


def test_events_of_foreign_objects_are_ignored(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    foreign = stand_in.create(
        "checkout/sessions",
        mode="payment",
        success_url="http://shop.example/paid",
        client_reference_id="cart 17",
        line_items=[{"quantity": 1, "price_data": {
            "currency": "usd", "unit_amount": 1000, "product_data": {"name": "A shirt"},
        }}],
    )  # fmt: skip
    stand_in.pay(foreign["url"])

    handled = stand_in.deliver(*stand_in.events(TYPE, "payment_intent.succeeded"))

    assert [event.state for event in handled] == ["ignored", "ignored"]
    assert {event.outcome for event in handled} == {
        "The session is not for one of our orders.",
        "The payment is not for one of our orders.",
    }
    assert not Transfer.objects.filter(kind="top_up").exists()
    assert not LedgerAlert.objects.exists()


def test_a_payment_that_is_not_what_was_ordered_ends_the_event_with_an_alert(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    sent = paid_order(stand_in, alices_team, alice)
    Order.objects.update(amount_cents=100_000, credit_nanos=1000 * 10**9)

    (event,) = stand_in.deliver(sent)

    assert event.state == "ignored"
    assert LedgerAlert.objects.get().kind == "payment_mismatch"
    assert not Transfer.objects.filter(kind="top_up").exists()


def test_a_replayed_event_is_handled_once_more_and_changes_nothing(
    stand_in: StripeStandIn, alice: User, alices_team: Team
) -> None:
    (event,) = stand_in.deliver(paid_order(stand_in, alices_team, alice))

    webhooks.replay(event)
    assert tasks.handle_due_stripe_events() == 1

    event.refresh_from_db()
    assert (event.state, event.attempts) == ("handled", 2)
    assert Transfer.objects.filter(kind="top_up").count() == 1


def test_an_event_that_nobody_handles_is_not_replayed() -> None:
    event = receive(kind="product.created")
    StripeEvent.objects.update(state=StripeEvent.State.IGNORED)

    webhooks.replay(event)

    assert webhooks.due_event_ids() == []
