"""billing_settle: the one end of a reservation, its charge and its usage record."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest
from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from billing.gate import Admission
from billing.models import (
    LedgerAlert,
    RateWindow,
    Reservation,
    Transfer,
    UsageRecord,
)
from tests.billing.customers import Customer, admit, at_once, connect, make_customer, settle, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def admitted(customer: Customer, **changes: object) -> Admission:
    """Returns a request that was admitted."""
    ask = customer.ask(**changes)
    (verdict,) = admit(ask)
    assert verdict.code == "admitted"
    return ask


def test_a_settlement_charges_the_cost_and_releases_the_hold():
    customer = make_customer(1000)
    ask = admitted(customer, amount_nanos=300)

    (receipt,) = settle(customer.end(ask, input_nanos=50, output_nanos=70))

    assert (receipt.code, receipt.charged_nanos, receipt.written_off_nanos) == ("settled", 120, 0)
    assert receipt.balance_nanos == 880
    assert customer.balances == (880, 0)
    assert customer.spend.held_nanos == 0
    reservation = customer.reservation(ask)
    assert reservation.state == Reservation.State.SETTLED
    assert reservation.ended_at is not None
    usage = customer.transfers[-1]
    assert (usage.kind, usage.reference) == ("usage", ask.request_id)
    assert (usage.amount_nanos, usage.sequence, usage.balance_nanos) == (120, 2, 880)
    assert usage.debit_account == customer.account
    assert usage.credit_account.kind == "revenue"


def test_the_cost_is_the_sum_of_every_component():
    customer = make_customer(1000)
    ask = admitted(customer)

    (receipt,) = settle(
        customer.end(
            ask,
            input_nanos=1,
            cached_nanos=2,
            output_nanos=4,
            reasoning_nanos=8,
            units_nanos=16,
        )
    )

    assert receipt.charged_nanos == 31


def test_the_usage_record_says_all_that_the_relay_knew():
    customer = make_customer(1000)
    ask = admitted(customer)
    known = {
        "upstream": "one",
        "upstream_request_id": "up-1",
        "end_user": "someone",
        "streamed": True,
        "input_tokens": 7,
        "cached_tokens": 3,
        "output_tokens": 9,
        "reasoning_tokens": 2,
        "images": 1,
        "seconds": 5,
        "pieces": 4,
        "input_nanos": 10,
        "cached_nanos": 11,
        "output_nanos": 12,
        "reasoning_nanos": 13,
        "units_nanos": 14,
        "upstream_cost_nanos": 33,
        "source": "estimated",
        "outcome": "client_closed",
        "status": 499,
        "error": "gone",
        "finish_reason": "stop",
        "attempts": [{"upstream": "zero", "status": 503}],
        "latency_ms": 1234,
        "first_token_ms": 56,
    }

    settle(customer.end(ask, **known))

    record = customer.record(ask)
    assert {name: getattr(record, name) for name in known} == known
    assert (record.model, record.surface, record.endpoint) == (
        "small",
        "openai",
        "chat/completions",
    )
    assert (record.account, record.key, record.price_version_id) == (
        customer.account,
        customer.key,
        1,
    )
    assert (record.cost_nanos, record.charged_nanos, record.reserved_nanos) == (60, 60, 100)
    assert not record.is_late


def test_texts_longer_than_their_columns_are_cut_and_fail_nothing():
    customer = make_customer(1000)
    ask = admitted(customer)

    settle(
        customer.end(
            ask,
            error="e" * 501,
            finish_reason="f" * 41,
            end_user="u" * 201,
            upstream_request_id="r" * 201,
        )
    )

    record = customer.record(ask)
    texts = (record.error, record.finish_reason, record.end_user, record.upstream_request_id)
    assert [len(text) for text in texts] == [500, 40, 200, 200]


def test_a_request_that_cost_nothing_and_answered_nothing_is_released():
    customer = make_customer(1000)
    ask = admitted(customer)

    (receipt,) = settle(customer.end(ask, outcome="upstream_error", status=502))

    assert (receipt.code, receipt.charged_nanos) == ("released", 0)
    assert customer.reservation(ask).state == Reservation.State.RELEASED
    assert customer.balances == (1000, 0)
    assert len(customer.transfers) == 1
    assert customer.record(ask).outcome == "upstream_error"


def test_a_free_answer_is_settled_without_a_transfer():
    customer = make_customer(0)
    ask = admitted(customer, amount_nanos=0)

    (receipt,) = settle(customer.end(ask, source="upstream", output_tokens=5))

    assert (receipt.code, receipt.charged_nanos) == ("settled", 0)
    assert customer.transfers == []
    assert customer.record(ask).output_tokens == 5


def test_a_second_settlement_changes_nothing():
    customer = make_customer(1000)
    ask = admitted(customer)
    settle(customer.end(ask, output_nanos=40))

    (receipt,) = settle(customer.end(ask, output_nanos=90))

    assert (receipt.code, receipt.charged_nanos) == ("already_ended", 0)
    assert customer.balances == (960, 0)
    assert customer.record(ask).output_nanos == 40
    assert customer.spend.total_nanos == 40


def test_a_release_can_not_follow_a_settlement():
    customer = make_customer(1000)
    ask = admitted(customer)
    settle(customer.end(ask, output_nanos=40))

    (receipt,) = settle(customer.end(ask))

    assert receipt.code == "already_ended"
    assert customer.reservation(ask).state == Reservation.State.SETTLED


def test_a_repeat_within_one_batch_is_charged_once():
    customer, neighbour = make_customer(1000), make_customer(1000)
    ask, other = admitted(customer), admitted(neighbour)
    end = customer.end(ask, output_nanos=40)

    receipts = settle(end, neighbour.end(other, output_nanos=5), end)

    assert sorted(receipt.code for receipt in receipts) == ["already_ended", "settled", "settled"]
    assert customer.balances == (960, 0)
    assert neighbour.balances == (995, 0)


def test_two_ends_of_one_request_in_a_batch_leave_the_record_of_the_one_that_counts():
    customer = make_customer(1000)
    ask = admitted(customer)

    receipts = settle(customer.end(ask, output_nanos=40), customer.end(ask, output_nanos=70))

    (charged,) = (receipt.charged_nanos for receipt in receipts if receipt.code == "settled")
    record = customer.record(ask)
    assert (record.output_nanos, record.charged_nanos) == (charged, charged)
    assert customer.balances == (1000 - charged, 0)


def test_an_unknown_reservation_is_named_and_changes_nothing():
    customer, other = make_customer(1000), make_customer(1000)
    ask = admitted(customer)

    (unknown,) = settle(customer.end(other.ask(), output_nanos=40))
    (foreign,) = settle(other.end(ask, output_nanos=40))

    assert unknown.code == foreign.code == "unknown_reservation"
    assert customer.balances == (1000, 100)
    assert other.balances == (1000, 0)


def test_an_unknown_account_gets_no_answer_and_its_neighbour_goes_through():
    customer = make_customer(1000)
    ask = admitted(customer)
    stray = customer.end(customer.ask())
    stray.account_id = 0

    receipts = settle(stray, customer.end(ask, output_nanos=1))

    assert [(receipt.request_id, receipt.code) for receipt in receipts] == [
        (ask.request_id, "settled")
    ]


def test_a_cost_above_the_hold_takes_what_else_is_available_and_alerts():
    customer = make_customer(1000)
    ask = admitted(customer, model="overrun-1")

    (receipt,) = settle(customer.end(ask, output_nanos=150))

    assert (receipt.code, receipt.charged_nanos, receipt.written_off_nanos) == ("settled", 150, 0)
    assert customer.balances == (850, 0)
    alert = LedgerAlert.objects.get(reference__startswith="overrun-1 ")
    assert alert.kind == "hold_overrun"
    assert ask.request_id in alert.detail


def test_a_cost_above_what_is_available_is_written_off_and_never_takes_other_holds():
    customer = make_customer(150)
    ask, other = admitted(customer, model="overrun-2", amount_nanos=50), admitted(customer)

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
    asks = [admitted(customer, model="overrun-3") for _ in range(3)]

    settle(*[customer.end(ask, output_nanos=150) for ask in asks])

    assert LedgerAlert.objects.filter(reference__startswith="overrun-3 ").count() == 1


def test_alerts_are_written_in_one_order_whatever_the_batchs():
    """Two processes that alert of the same models in two orders would deadlock."""
    first, second = make_customer(1000), make_customer(1000)
    ends = [
        customer.end(admitted(customer, model=model), output_nanos=150)
        for customer, model in ((first, "order-b"), (second, "order-a"))
    ]

    settle(*ends)

    alerts = LedgerAlert.objects.filter(reference__startswith="order-").order_by("pk")
    assert [alert.reference[:7] for alert in alerts] == ["order-a", "order-b"]


def test_a_late_settlement_is_charged_once_and_says_so():
    customer = make_customer(1000)
    ask = admitted(customer, hold_seconds=-1)
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
    ask = admitted(customer, hold_seconds=-1, model="late-1")
    sweep()
    other = admitted(customer, amount_nanos=70)

    (receipt,) = settle(customer.end(ask, output_nanos=90))

    assert (receipt.code, receipt.charged_nanos, receipt.written_off_nanos) == ("late", 30, 60)
    assert customer.balances == (70, 70)
    assert Transfer.objects.get(kind="write_off", reference=ask.request_id).amount_nanos == 60
    assert LedgerAlert.objects.get(reference__startswith="late-1 ").kind == "written_off"
    assert settle(customer.end(other, output_nanos=70))[0].charged_nanos == 70


def test_a_late_release_replaces_the_sweeps_record():
    customer = make_customer(100)
    ask = admitted(customer, hold_seconds=-1)
    sweep()

    (receipt,) = settle(customer.end(ask, outcome="upstream_error", status=502))

    assert (receipt.code, receipt.charged_nanos) == ("late", 0)
    assert customer.record(ask).outcome == "upstream_error"


def test_only_the_sweep_makes_a_settlement_late():
    """A caller that says `expired` of its own accord is no reason to charge a second time."""
    customer = make_customer(1000)
    ask = admitted(customer)
    end = customer.end(ask, output_nanos=40, outcome="expired")

    assert [settle(end)[0].code for _ in range(2)] == ["settled", "already_ended"]
    assert customer.balances == (960, 0)


def test_settlement_corrects_the_tokens_that_were_counted():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = admitted(customer, tokens=90)

    settle(customer.end(ask, input_tokens=5, output_tokens=7, output_nanos=1))

    assert RateWindow.objects.get(key=customer.key).tokens == 12
    assert admit(customer.ask(tokens=88))[0].tokens_remaining == 0


def test_more_tokens_than_were_counted_are_counted_too():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = admitted(customer, tokens=10)

    settle(customer.end(ask, input_tokens=100, output_tokens=50, output_nanos=1))

    (verdict,) = admit(customer.ask(tokens=0))
    assert (verdict.code, verdict.tokens_remaining) == ("rate_limited_tokens", 0)


def test_tokens_of_an_earlier_minute_are_not_corrected_in_this_one():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = admitted(customer, tokens=90)
    earlier = timezone.now() - timedelta(seconds=61)
    RateWindow.objects.filter(key=customer.key).update(started_at=earlier)
    Reservation.objects.filter(pk=ask.request_id).update(window_started_at=earlier)
    admitted(customer, tokens=30)

    settle(customer.end(ask, input_tokens=1, output_nanos=1))

    assert RateWindow.objects.get(key=customer.key).tokens == 30


def test_a_lost_minute_is_no_obstacle():
    """The table is UNLOGGED: a crash of the server empties it."""
    customer = make_customer(1000)
    ask = admitted(customer)
    RateWindow.objects.filter(key=customer.key).delete()

    (receipt,) = settle(customer.end(ask, output_nanos=5))

    assert receipt.code == "settled"
    assert not RateWindow.objects.filter(key=customer.key).exists()


def test_spend_counts_in_the_day_and_month_of_the_settlement():
    customer = make_customer(1000)
    ask, other = admitted(customer), admitted(customer)
    settle(customer.end(ask, output_nanos=60))
    customer.move_spend(date(2020, 1, 1))

    settle(customer.end(other, output_nanos=7))

    spend = customer.spend
    today = timezone.now().date()
    assert (spend.day, spend.month) == (today, today.replace(day=1))
    assert (spend.day_nanos, spend.month_nanos, spend.total_nanos) == (7, 7, 67)


def test_keys_of_one_account_are_charged_in_one_batch_each_to_its_own_budget():
    customer = make_customer(1000)
    other = customer.another_key()
    asks = [admitted(who) for who in (customer, other, customer)]

    settle(
        customer.end(asks[0], output_nanos=10),
        other.end(asks[1], output_nanos=20),
        customer.end(asks[2], output_nanos=40),
    )

    assert (customer.spend.total_nanos, other.spend.total_nanos) == (50, 20)
    assert customer.balances == (930, 0)
    assert [transfer.sequence for transfer in customer.transfers] == [1, 2, 3, 4]
    assert customer.transfers[-1].balance_nanos == 930


def test_a_settlement_after_the_key_was_revoked_is_charged():
    customer = make_customer(1000)
    ask = admitted(customer)
    customer.key.revoked_at = timezone.now()
    customer.key.save()

    assert settle(customer.end(ask, output_nanos=40))[0].charged_nanos == 40


@pytest.mark.parametrize(
    ("field", "value"), [("output_nanos", -1), ("status", 70_000), ("latency_ms", 2**31)]
)
def test_what_no_column_can_hold_is_refused_and_changes_nothing(field, value):
    customer = make_customer(1000)
    ask = admitted(customer)

    with pytest.raises((DataError, IntegrityError)), transaction.atomic():
        settle(customer.end(ask, **{field: value}))

    assert customer.balances == (1000, 100)
    assert customer.reservation(ask).state == Reservation.State.OPEN


@pytest.mark.django_db(transaction=True)
def test_a_hundred_settlements_at_once_end_a_reservation_once():
    customer = make_customer(1000)
    ask = admitted(customer)
    end = customer.end(ask, output_nanos=40)

    codes = at_once(lambda own: settle(end, on=own)[0].code)

    assert sorted(codes) == ["already_ended"] * 99 + ["settled"]
    assert customer.balances == (960, 0)
    assert UsageRecord.objects.filter(account=customer.account).count() == 1


@pytest.mark.django_db(transaction=True)
def test_settlement_and_sweep_at_once_end_a_reservation_once():
    """Whoever comes second finds it ended: the customer pays once, the hold is released once."""
    customer = make_customer(10_000)
    asks = [admitted(customer, hold_seconds=-1) for _ in range(40)]

    def settle_all(_: int) -> list[str]:
        with connect() as own:
            return [settle(customer.end(ask, output_nanos=40), on=own)[0].code for ask in asks]

    def sweep_all(_: int) -> list[str]:
        with connect() as own:
            return [str(sweep(on=own)) for _ in range(20)]

    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(job, 0) for job in (settle_all, sweep_all, settle_all, sweep_all)]
        codes = jobs[0].result() + jobs[2].result()

    assert sum(code in {"settled", "late"} for code in codes) == 40
    assert codes.count("already_ended") == 40
    assert customer.balances == (10_000 - 40 * 40, 0)
    assert customer.spend.held_nanos == 0


def test_a_reservation_that_expired_but_was_not_swept_yet_is_settled():
    customer = make_customer(1000)
    ask = admitted(customer, hold_seconds=-1)

    assert settle(customer.end(ask, output_nanos=40))[0].code == "settled"
    assert sweep() == 0
