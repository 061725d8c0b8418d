"""Settlements that the hold does not cover: costs above it, and those that come too late."""

import pytest

from billing.models import LedgerAlert, Reservation, Transfer
from tests.billing.ledger_calls import (
    make_customer,
    settle,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_a_cost_above_the_hold_takes_what_else_is_available_and_alerts():
    customer = make_customer(1000)
    ask = customer.admitted(model="overrun-1")

    (receipt,) = settle(customer.end(ask, output_nanos=150))

    assert (receipt.code, receipt.charged_nanos, receipt.written_off_nanos) == ("settled", 150, 0)
    assert customer.balances == (850, 0)
    alert = LedgerAlert.objects.get(reference__startswith="overrun-1 ")
    assert alert.kind == "hold_overrun"
    assert ask.request_id in alert.detail


def test_a_cost_above_what_is_available_never_takes_other_holds():
    customer = make_customer(150)
    ask, other = customer.admitted(model="overrun-2", amount_nanos=50), customer.admitted()

    (receipt,) = settle(customer.end(ask, output_nanos=80))

    assert (receipt.code, receipt.charged_nanos, receipt.written_off_nanos) == ("settled", 50, 30)
    assert customer.balances == (100, 100)
    written_off = Transfer.objects.get(kind="write_off", reference=ask.request_id)
    assert written_off.amount_nanos == 30
    assert written_off.debit_account.kind == "write_off"
    assert written_off.credit_account.kind == "revenue"
    assert written_off.customer is None
    assert customer.record(ask).written_off_nanos == 30
    assert LedgerAlert.objects.get(reference__startswith="overrun-2 ").kind == "written_off"
    assert settle(customer.end(other, output_nanos=100))[0].charged_nanos == 100


def test_overruns_of_a_model_alert_once_an_hour():
    customer = make_customer(1000)
    asks = [customer.admitted(model="overrun-3") for _ in range(3)]

    settle(*[customer.end(ask, output_nanos=150) for ask in asks])

    assert LedgerAlert.objects.filter(reference__startswith="overrun-3 ").count() == 1


def test_alerts_are_written_in_one_order_whatever_the_batchs():
    """Two processes that alert of the same models in two orders would deadlock."""
    first, second = make_customer(1000), make_customer(1000)
    ends = [
        customer.end(customer.admitted(model=model), output_nanos=150)
        for customer, model in ((first, "order-b"), (second, "order-a"))
    ]

    settle(*ends)

    alerts = LedgerAlert.objects.filter(reference__startswith="order-").order_by("pk")
    assert [alert.reference[:7] for alert in alerts] == ["order-a", "order-b"]


def test_a_late_settlement_is_charged_once_and_says_so():
    customer = make_customer(1000)
    ask = customer.admitted(hold_seconds=-1)
    sweep()
    end = customer.end(ask, output_nanos=40)

    receipts = [settle(end)[0] for _ in range(2)]

    assert [receipt.code for receipt in receipts] == ["late", "already_ended"]
    assert receipts[0].charged_nanos == 40
    assert customer.balances == (960, 0)
    assert customer.spend.held_nanos == 0
    assert customer.spend.total_nanos == 40
    assert customer.reservation(ask).state == Reservation.State.EXPIRED
    record = customer.record(ask)
    assert (record.is_late, record.outcome, record.charged_nanos) == (True, "completed", 40)


def test_a_late_settlement_takes_what_is_left_and_writes_off_the_rest():
    customer = make_customer(100)
    ask = customer.admitted(hold_seconds=-1, model="late-1")
    sweep()
    other = customer.admitted(amount_nanos=70)

    (receipt,) = settle(customer.end(ask, output_nanos=90))

    assert (receipt.code, receipt.charged_nanos, receipt.written_off_nanos) == ("late", 30, 60)
    assert customer.balances == (70, 70)
    assert Transfer.objects.get(kind="write_off", reference=ask.request_id).amount_nanos == 60
    assert LedgerAlert.objects.get(reference__startswith="late-1 ").kind == "written_off"
    assert settle(customer.end(other, output_nanos=70))[0].charged_nanos == 70


def test_a_late_release_replaces_the_sweeps_record():
    customer = make_customer(100)
    ask = customer.admitted(hold_seconds=-1)
    sweep()

    (receipt,) = settle(customer.end(ask, outcome="upstream_error", status=502))

    assert (receipt.code, receipt.charged_nanos) == ("late", 0)
    assert customer.record(ask).outcome == "upstream_error"


def test_only_the_sweep_makes_a_settlement_late():
    """A caller that says `expired` of its own accord is no reason to charge a second time."""
    customer = make_customer(1000)
    ask = customer.admitted()
    end = customer.end(ask, output_nanos=40, outcome="expired")

    assert [settle(end)[0].code for _ in range(2)] == ["settled", "already_ended"]
    assert customer.balances == (960, 0)


def test_a_reservation_that_expired_but_was_not_swept_yet_is_settled():
    customer = make_customer(1000)
    ask = customer.admitted(hold_seconds=-1)

    assert settle(customer.end(ask, output_nanos=40))[0].code == "settled"
    assert sweep() == 0
