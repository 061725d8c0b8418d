"""billing_settle: the one end of a reservation, its charge and its usage record."""

import json
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from billing.ledger import postings
from billing.models import (
    Reservation,
    UsageRecord,
)
from tests.billing.ledger_calls import (
    connect,
    make_customer,
    repeat_on_ten_connections,
    settle,
    sweep,
)
from tests.billing.route_costs import make_route_cost

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_a_settlement_charges_the_cost_and_releases_the_hold():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=300)

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
    ask = customer.admitted()

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
    ask = customer.admitted()
    known = {
        "upstream": "one",
        "upstream_request_id": "up-1",
        "end_user": "someone",
        "session_id": "agent run 7",
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
        "chat_completions",
    )
    assert (record.account, record.key, record.price_version_id) == (
        customer.account,
        customer.key,
        1,
    )
    assert (record.cost_nanos, record.charged_nanos, record.reserved_nanos) == (60, 60, 100)
    assert not record.is_late


LINES = [["input", 3, 2_000_000, 1_000_000, 6], ["output", 5, 2_000_000, 1_000_000, 10]]
CHARGED = {"input_nanos": 6, "output_nanos": 10, "lines": LINES}


def test_the_lines_of_the_charge_are_kept_with_the_record():
    customer = make_customer(1000)
    ask = customer.admitted()

    (receipt,) = settle(customer.end(ask, **CHARGED))

    assert receipt.charged_nanos == 16
    assert customer.record(ask).lines == LINES


def test_what_each_upstream_charges_is_kept_with_the_record():
    cost = make_route_cost(input_nanos_per_million=2_000_000)
    charged = {"upstream": "one", "route_cost": cost.pk, "amount_nanos": 6, "lines": LINES[:1]}
    customer = make_customer(1000)
    ask = customer.admitted()

    settle(customer.end(ask, **CHARGED, upstream_cost_nanos=6, cost_lines=[charged]))

    assert customer.record(ask).cost_lines == [charged]


def test_a_row_of_an_earlier_release_has_no_lines_and_is_settled():
    customer = make_customer(1000)
    ask = customer.admitted()
    row = msgspec.to_builtins(customer.end(ask, **CHARGED))
    del row["lines"], row["cost_lines"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT code FROM billing_settle(%s::jsonb)", [json.dumps([row])])
        assert cursor.fetchone() == ("settled",)

    assert (customer.record(ask).lines, customer.record(ask).cost_lines) == ([], [])


def test_a_repeat_leaves_the_lines_of_the_settlement_that_counts():
    customer = make_customer(1000)
    ask = customer.admitted()
    settle(customer.end(ask, **CHARGED))

    (receipt,) = settle(
        customer.end(ask, output_nanos=20, lines=[["output", 10, 2_000_000, 1_000_000, 20]])
    )

    assert receipt.code == "already_ended"
    assert customer.record(ask).lines == LINES


def test_texts_longer_than_their_columns_are_cut_and_fail_nothing():
    customer = make_customer(1000)
    ask = customer.admitted()

    settle(
        customer.end(
            ask,
            error="e" * 501,
            finish_reason="f" * 41,
            end_user="u" * 201,
            upstream_request_id="r" * 201,
            session_id="s" * 129,
        )
    )

    record = customer.record(ask)
    texts = (record.error, record.finish_reason, record.end_user, record.upstream_request_id)
    assert [len(text) for text in texts] == [500, 40, 200, 200]
    assert len(record.session_id) == 128


def test_a_request_that_cost_nothing_and_answered_nothing_is_released():
    customer = make_customer(1000)
    ask = customer.admitted()

    (receipt,) = settle(customer.end(ask, outcome="upstream_error", status=502))

    assert (receipt.code, receipt.charged_nanos) == ("released", 0)
    assert customer.reservation(ask).state == Reservation.State.RELEASED
    assert customer.balances == (1000, 0)
    assert len(customer.transfers) == 1
    assert customer.record(ask).outcome == "upstream_error"


def test_a_free_answer_is_settled_without_a_transfer():
    customer = make_customer(0)
    ask = customer.admitted(amount_nanos=0)

    (receipt,) = settle(customer.end(ask, source="upstream", output_tokens=5))

    assert (receipt.code, receipt.charged_nanos) == ("settled", 0)
    assert customer.transfers == []
    assert customer.record(ask).output_tokens == 5


def test_a_second_settlement_changes_nothing():
    customer = make_customer(1000)
    ask = customer.admitted()
    settle(customer.end(ask, output_nanos=40))

    (receipt,) = settle(customer.end(ask, output_nanos=90))

    assert (receipt.code, receipt.charged_nanos) == ("already_ended", 0)
    assert customer.balances == (960, 0)
    assert customer.record(ask).output_nanos == 40
    assert customer.spend.total_nanos == 40


def test_a_release_can_not_follow_a_settlement():
    customer = make_customer(1000)
    ask = customer.admitted()
    settle(customer.end(ask, output_nanos=40))

    (receipt,) = settle(customer.end(ask))

    assert receipt.code == "already_ended"
    assert customer.reservation(ask).state == Reservation.State.SETTLED


def test_a_repeat_within_one_batch_is_charged_once():
    customer, neighbour = make_customer(1000), make_customer(1000)
    ask, other = customer.admitted(), neighbour.admitted()
    end = customer.end(ask, output_nanos=40)

    receipts = settle(end, neighbour.end(other, output_nanos=5), end)

    assert sorted(receipt.code for receipt in receipts) == ["already_ended", "settled", "settled"]
    assert customer.balances == (960, 0)
    assert neighbour.balances == (995, 0)


def test_two_ends_of_one_request_in_a_batch_leave_the_record_of_the_one_that_counts():
    customer = make_customer(1000)
    ask = customer.admitted()

    receipts = settle(customer.end(ask, output_nanos=40), customer.end(ask, output_nanos=70))

    (charged,) = (receipt.charged_nanos for receipt in receipts if receipt.code == "settled")
    record = customer.record(ask)
    assert (record.output_nanos, record.charged_nanos) == (charged, charged)
    assert customer.balances == (1000 - charged, 0)


def test_an_unknown_reservation_is_named_and_changes_nothing():
    customer, other = make_customer(1000), make_customer(1000)
    ask = customer.admitted()

    (unknown,) = settle(customer.end(other.ask(), output_nanos=40))
    (foreign,) = settle(other.end(ask, output_nanos=40))

    assert unknown.code == foreign.code == "unknown_reservation"
    assert customer.balances == (1000, 100)
    assert other.balances == (1000, 0)


def test_an_unknown_account_gets_no_answer_and_its_neighbour_goes_through():
    customer = make_customer(1000)
    ask = customer.admitted()
    stray = customer.end(customer.ask())
    stray.account_id = 0

    receipts = settle(stray, customer.end(ask, output_nanos=1))

    assert [(receipt.request_id, receipt.code) for receipt in receipts] == [
        (ask.request_id, "settled")
    ]


def test_a_settlement_after_the_key_was_revoked_is_charged():
    customer = make_customer(1000)
    ask = customer.admitted()
    customer.key.revoked_at = timezone.now()
    customer.key.save()

    assert settle(customer.end(ask, output_nanos=40))[0].charged_nanos == 40


@pytest.mark.parametrize(
    ("field", "value"), [("output_nanos", -1), ("status", 70_000), ("latency_ms", 2**31)]
)
def test_what_no_column_can_hold_is_refused_and_changes_nothing(field, value):
    customer = make_customer(1000)
    ask = customer.admitted()

    with pytest.raises((DataError, IntegrityError)), transaction.atomic():
        settle(customer.end(ask, **{field: value}))

    assert customer.balances == (1000, 100)
    assert customer.reservation(ask).state == Reservation.State.OPEN


@pytest.mark.django_db(transaction=True)
def test_a_hundred_settlements_at_once_end_a_reservation_once():
    customer = make_customer(1000)
    ask = customer.admitted()
    end = customer.end(ask, output_nanos=40)

    codes = repeat_on_ten_connections(lambda own: settle(end, on=own)[0].code)

    assert sorted(codes) == ["already_ended"] * 99 + ["settled"]
    assert customer.balances == (960, 0)
    assert UsageRecord.objects.filter(account=customer.account).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_a_hundred_settlements_at_once_the_record_has_the_lines_of_the_one_that_was_charged():
    customer = make_customer(1000)
    ask = customer.admitted()
    amounts = iter(range(1, 101))

    def end(own):
        nanos = next(amounts)
        lines = [["output", nanos, 1_000_000, 1_000_000, nanos]]
        return settle(customer.end(ask, output_nanos=nanos, lines=lines), on=own)[0]

    receipts = repeat_on_ten_connections(end)

    (charged,) = (receipt.charged_nanos for receipt in receipts if receipt.code == "settled")
    assert customer.record(ask).lines == [["output", charged, 1_000_000, 1_000_000, charged]]
    assert customer.balances == (1000 - charged, 0)


@pytest.mark.django_db(transaction=True)
def test_settlement_and_sweep_at_once_end_a_reservation_once():
    """Whoever comes second finds it ended: the customer pays once, the hold is released once."""
    customer = make_customer(10_000)
    asks = [customer.admitted(hold_seconds=-1) for _ in range(40)]

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


def test_work_outside_of_a_request_settles_in_its_own_transaction():
    """As a video's job: its end and its settlement are committed together or not at all."""
    customer = make_customer(1000)
    end = customer.end(customer.admitted(), output_nanos=40, error="a\0b")

    with transaction.atomic():
        undone = postings.settle(end)
        transaction.set_rollback(True)
    assert customer.balances == (1000, 100)
    receipts = [postings.settle(end), postings.settle(end)]

    assert [receipt.code for receipt in (undone, *receipts)] == [
        "settled",
        "settled",
        "already_ended",
    ]
    assert (receipts[0].charged_nanos, receipts[0].balance_nanos) == (40, 960)
    assert customer.balances == (960, 0)


def test_work_outside_of_a_request_is_told_of_an_unknown_account():
    stray = make_customer().end("00" * 16, account_id=0)

    assert postings.settle(stray).code == "unknown_reservation"
