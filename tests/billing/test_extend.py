"""billing_extend: holds that grow while their answers are streamed."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from billing.ledger.extension import Extension, ExtensionResult
from billing.models import RateWindow, Reservation
from tests.billing.gates import LockedAccount, open_gate
from tests.billing.ledger_calls import (
    Admission,
    Customer,
    admit,
    call,
    connect,
    make_customer,
    new_id,
    repeat_on_ten_connections,
    run,
    settle,
    sweep,
)
from tests.support.waiting import eventually_async

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def extension(customer: Customer, ask: Admission | str, amount: int, **fields: Any) -> Extension:
    """Return a request's extension to a hold of an amount, all of which it needs by default."""
    request_id = ask if isinstance(ask, str) else ask.request_id
    named = {"amount_nanos": amount, "minimum_nanos": amount} | fields
    return Extension(request_id=request_id, account_id=customer.account.pk, **named)


def extend(*extensions: Extension, on: Any = None) -> list[tuple[str, int]]:
    """Extend as one statement. Return codes and holds, in the order of the extensions."""
    found = {each.request_id: each for each in call("extend", extensions, ExtensionResult, on)}
    results = [found[each.request_id] for each in extensions]
    return [(result.code, result.amount_nanos) for result in results]


def test_a_hold_grows_to_what_is_asked_and_a_repeat_changes_nothing():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=100)
    assert extend(extension(customer, ask, 300)) == [("extended", 300)]
    assert extend(extension(customer, ask, 300)) == [("extended", 300)]
    assert extend(extension(customer, ask, 200)) == [("extended", 300)]
    assert customer.balances == (1000, 300)
    assert customer.spend.held_nanos == 300
    assert customer.reservation(ask).amount_nanos == 300


def test_the_settlement_releases_the_whole_hold():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=100)
    extend(extension(customer, ask, 300))
    settle(customer.end(ask, output_nanos=250))
    assert customer.balances == (750, 0)
    assert customer.record(ask).reserved_nanos == 300
    assert customer.spend.held_nanos == 0


def test_a_hold_grows_as_far_as_the_balance_where_that_is_enough():
    customer = make_customer(1000)
    ask, other = customer.admitted(amount_nanos=100), customer.admitted(amount_nanos=700)
    assert extend(extension(customer, ask, 500, minimum_nanos=300)) == [("extended", 300)]
    assert customer.balances == (1000, 1000)
    settle(customer.end(other, output_nanos=1))


def test_a_hold_that_the_balance_can_not_pay_for_stays_as_it_is():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=100)
    customer.admitted(amount_nanos=700)
    assert extend(extension(customer, ask, 301)) == [("insufficient_quota", 100)]
    assert customer.balances == (1000, 800)


def test_an_answer_that_needs_no_more_goes_on_without_balance():
    """A minimum of zero is not sent at all, and is not the whole amount."""
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=100)
    customer.admitted(amount_nanos=900)
    assert extend(extension(customer, ask, 300, minimum_nanos=0)) == [("extended", 100)]


def test_a_budget_bounds_what_its_holds_grow_to():
    customer = make_customer(1000, budget_day_nanos=400)
    ask = customer.admitted(amount_nanos=100)
    settle(customer.end(customer.admitted(amount_nanos=100), output_nanos=50))
    assert extend(extension(customer, ask, 351)) == [("budget_exceeded", 100)]
    assert extend(extension(customer, ask, 351, minimum_nanos=350)) == [("extended", 350)]
    assert customer.code(amount_nanos=1) == "budget_exceeded"
    assert customer.another_key().code(amount_nanos=600) == "admitted"


def test_extensions_of_one_batch_share_what_is_left():
    customer = make_customer(1000, budget_total_nanos=500)
    asks = sorted(
        (customer.admitted(amount_nanos=100) for _ in range(3)), key=lambda ask: ask.request_id
    )
    results = extend(*(extension(customer, ask, 200) for ask in asks))
    assert results == [("extended", 200), ("extended", 200), ("budget_exceeded", 100)]
    assert customer.balances == (1000, 500)


def test_a_repeat_in_one_batch_counts_once():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=100)
    first, second = extension(customer, ask, 300), extension(customer, ask, 400)
    answers = call("extend", [second, first, first], ExtensionResult)
    assert [answer.amount_nanos for answer in answers] == [300, 300, 400]
    assert customer.balances == (1000, 400)


def test_what_has_ended_is_extended_no_more():
    customer, other = make_customer(1000), make_customer(1000)
    settled, expired = customer.admitted(), customer.admitted(hold_seconds=-1)
    open_one = customer.admitted()
    settle(customer.end(settled, output_nanos=1))
    sweep()
    assert (
        extend(
            extension(customer, settled, 200),
            extension(customer, expired, 200),
            extension(customer, new_id(), 200),
            extension(other, open_one, 200),
        )
        == [("ended", 0)] * 4
    )
    assert customer.balances == (999, 100)
    assert other.balances == (1000, 0)


def test_an_expired_hold_is_settled_late_after_it_grew():
    customer = make_customer(1000)
    ask = customer.admitted(hold_seconds=-1)
    extend(extension(customer, ask, 400))
    sweep()
    assert customer.balances == (1000, 0)
    assert settle(customer.end(ask, output_nanos=300))[0].code == "late"
    assert customer.balances == (700, 0)


def test_tokens_count_in_the_current_minute_and_are_never_refused():
    customer = make_customer(1000, tokens_per_minute=100)
    ask = customer.admitted(tokens=60)
    extend(extension(customer, ask, 200, tokens=50))
    assert RateWindow.objects.get(key=customer.key).tokens == 60
    extend(extension(customer, ask, 300, tokens=150))
    assert RateWindow.objects.get(key=customer.key).tokens == 150
    assert customer.code(tokens=1) == "rate_limited_tokens"

    earlier = timezone.now() - timedelta(seconds=61)
    RateWindow.objects.filter(key=customer.key).update(started_at=earlier)
    Reservation.objects.filter(key=customer.key).update(window_started_at=earlier)
    extend(extension(customer, ask, 400, tokens=180))
    assert RateWindow.objects.get(key=customer.key).tokens == 30


def test_tokens_of_a_refused_extension_are_not_counted():
    customer = make_customer(1000)
    ask = customer.admitted(tokens=60)
    extend(extension(customer, ask, 2000, tokens=150))
    assert RateWindow.objects.get(key=customer.key).tokens == 60


@pytest.mark.django_db(transaction=True)
def test_extensions_and_admissions_at_once_hold_no_more_than_there_is():
    customer = make_customer(5_000, budget_total_nanos=4_000)
    asks = [customer.admitted(amount_nanos=10) for _ in range(100)]

    def work(on: Any) -> int:
        ask = asks.pop()
        held = 0
        for amount in range(20, 120, 10):
            ((code, held),) = extend(extension(customer, ask, amount), on=on)
            if code != "extended":
                break
        return held

    held = repeat_on_ten_connections(work)

    assert sum(held) == customer.balances[1] == customer.spend.held_nanos == 4_000


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_folder")
def test_an_extension_waits_for_an_admission_under_way():
    customer = make_customer(10_000, budget_total_nanos=1000)
    ask = customer.admitted(amount_nanos=100)

    async def work() -> None:
        async with open_gate() as gate:
            with connect(autocommit=False) as other, connect() as watcher:
                assert admit(customer.ask(amount_nanos=700), on=other)[0].code == "admitted"
                future = gate.extend(extension(customer, ask, 301))
                blocked = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
                await eventually_async(
                    lambda: watcher.execute(blocked, [other.info.backend_pid]).fetchone()
                )
                other.commit()
                result = await future
            assert (result.code, result.amount_nanos) == ("budget_exceeded", 100)

    run(work())
    assert customer.balances == (10_000, 800)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_folder")
def test_an_extension_whose_answer_was_lost_is_made_once():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=100)

    async def work() -> None:
        async with open_gate() as gate:
            with LockedAccount(customer) as account:
                future = gate.extend(extension(customer, ask, 300))
                await eventually_async(account.waiting)
                account.kill_waiting()
                account.unlock()
                result = await future
            assert (result.code, result.amount_nanos) == ("extended", 300)
            again = await gate.extend(extension(customer, ask, 300))
            assert (again.code, again.amount_nanos) == ("extended", 300)

    run(work())
    assert customer.balances == (1000, 300)
