"""The limit of a team's calls at once: exact, over all keys and processes."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from accounts.models import Plan
from billing.models import CreditAccount
from tests.billing.gates import admit_all, codes_of, open_gate
from tests.billing.ledger_calls import Customer, admit, make_customer, run, settle, sweep

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def make_limited(limit: int, balance_nanos: int = 1_000_000) -> Customer:
    """Make a customer whose team has a limit of its own."""
    customer = make_customer(balance_nanos)
    customer.change_team(concurrent_requests=limit)
    return customer


def open_calls(customer: Customer) -> int:
    """Return how many calls the account counts as open."""
    return CreditAccount.objects.get(pk=customer.account.pk).open_calls


def test_calls_above_the_limit_are_refused_and_count_nothing():
    customer = make_limited(2)
    results = admit(*[customer.ask() for _ in range(3)])

    assert codes_of(results) == ["admitted", "admitted", "too_many_calls"]
    (refused,) = [result for result in results if result.code == "too_many_calls"]
    assert (refused.amount_nanos, refused.retry_after_seconds) == (0, 1)
    assert refused.requests_remaining == 1_000_000 - 2
    assert customer.balances[1] == 200
    assert open_calls(customer) == 2


@pytest.mark.parametrize("changes", [{"output_nanos": 5}, {}], ids=["settled", "released"])
def test_a_call_that_ends_makes_room_once(changes):
    customer = make_limited(1)
    ask = customer.admitted()
    assert customer.code() == "too_many_calls"

    settle(customer.end(ask, **changes))
    settle(customer.end(ask, **changes))

    assert open_calls(customer) == 0
    assert customer.code() == "admitted"
    assert customer.code() == "too_many_calls"


def test_a_call_that_is_swept_makes_room_and_its_late_settlement_no_more():
    customer = make_limited(1)
    ask = customer.admitted(hold_seconds=-1)
    sweep()
    assert settle(customer.end(ask, output_nanos=5))[0].code == "late"
    assert open_calls(customer) == 0
    assert customer.code() == "admitted"
    assert customer.code() == "too_many_calls"


def test_the_limit_is_over_all_keys_of_the_team_and_not_over_others():
    customer, other = make_limited(1), make_limited(1)
    customer.admitted()
    assert customer.another_key().code() == "too_many_calls"
    assert other.code() == "admitted"


def test_the_plans_limit_holds_where_the_team_has_none():
    plan = Plan.objects.create(name="one-at-a-time", title="One", concurrent_requests=1)
    customer = make_customer(1000)
    customer.change_team(plan=plan)
    customer.admitted()
    assert customer.code() == "too_many_calls"
    customer.change_team(concurrent_requests=2)
    assert customer.code() == "admitted"


def test_jobs_are_not_counted():
    customer = make_limited(1)
    job = customer.admitted(is_job=True)
    call = customer.admitted()
    assert customer.code(is_job=True) == "admitted"
    assert customer.code() == "too_many_calls"
    settle(customer.end(job, output_nanos=1), customer.end(call, output_nanos=1))
    assert open_calls(customer) == 0


def test_a_repeat_of_an_admission_is_not_counted_again():
    customer = make_limited(2)
    ask = customer.admitted()
    assert codes_of(admit(ask, ask)) == ["admitted", "admitted"]
    assert open_calls(customer) == 1
    assert customer.code() == "admitted"


def test_a_free_call_counts_too():
    customer = make_limited(1, balance_nanos=0)
    customer.admitted(amount_nanos=0)
    assert customer.code(amount_nanos=0) == "too_many_calls"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("spool_folder")
def test_of_two_hundred_calls_at_once_through_four_processes_fifty_pass_a_limit_of_fifty():
    customer = make_limited(50)
    keys = [customer, customer.another_key(), customer.another_key()]

    async def work() -> tuple[Counter[str], Counter[str]]:
        async with open_gate() as a, open_gate() as b, open_gate() as c, open_gate() as d:
            gates = [a, b, c, d]
            asks = [keys[n % 3].ask() for n in range(200)]
            results = await admit_all(gates, asks)
            ended: list[Any] = []
            for ask, result, key in zip(asks, results, [*keys] * 67, strict=False):
                if result.code == "admitted":
                    ended.append(a.settle(key.end(ask, output_nanos=1)))
            await asyncio.gather(*ended)
            again = await admit_all(gates, [keys[n % 3].ask() for n in range(60)])
            return Counter(codes_of(results)), Counter(codes_of(again))

    first, again = run(work())

    assert first == {"admitted": 50, "too_many_calls": 150}
    assert again == {"admitted": 50, "too_many_calls": 10}
    assert open_calls(customer) == 50
