"""The gate: admissions and settlements of many requests and processes at once."""

import asyncio
from typing import Any

import msgspec
import pytest

from billing.ledger.gate import Admission, AdmissionResult, Gate, Settlement
from billing.models import RateWindow
from tests.billing.gates import admit_all, codes_of, open_gate
from tests.billing.ledger_calls import Customer, make_customer, run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books_are_right", "spool_folder"),
]


def through_two_gates(asks: list[Admission]) -> list[AdmissionResult]:
    """Admit at once through two gates, as two processes would."""

    async def work() -> list[AdmissionResult]:
        async with open_gate() as one, open_gate() as two:
            return await admit_all([one, two], asks)

    return run(work())


def test_sixty_of_a_hundred_requests_at_once_pass_a_limit_of_sixty():
    customer = make_customer(1_000_000, requests_per_minute=60)

    admissions = through_two_gates([customer.ask() for _ in range(100)])

    assert codes_of(admissions) == ["admitted"] * 60 + ["rate_limited_requests"] * 40
    assert customer.balances == (1_000_000, 60 * 100)
    assert RateWindow.objects.get(key=customer.key).requests == 60
    left = sorted(v.requests_remaining for v in admissions if v.code == "admitted")
    assert left == list(range(60))


def test_tokens_at_once_pass_up_to_the_limit():
    customer = make_customer(1_000_000, tokens_per_minute=1000)

    admissions = through_two_gates([customer.ask(tokens=70) for _ in range(50)])

    assert codes_of(admissions) == ["admitted"] * 14 + ["rate_limited_tokens"] * 36
    assert RateWindow.objects.get(key=customer.key).tokens == 14 * 70


@pytest.mark.parametrize(("balance", "passes"), [(100_000, 333), (300, 1), (299, 0)])
def test_a_thousand_requests_at_once_hold_no_more_than_there_is(balance, passes):
    customer = make_customer(balance)

    admissions = through_two_gates([customer.ask(amount_nanos=300) for _ in range(1000)])

    assert codes_of(admissions) == ["admitted"] * passes + ["insufficient_quota"] * (1000 - passes)
    assert customer.balances == (balance, passes * 300)
    assert all(admission.available_nanos >= 0 for admission in admissions)


def test_a_thousand_requests_at_once_share_the_last_nano_once():
    customer = make_customer(1)

    admissions = through_two_gates([customer.ask(amount_nanos=1) for _ in range(1000)])

    assert codes_of(admissions) == ["admitted"] + ["insufficient_quota"] * 999
    assert customer.balances == (1, 1)


def test_keys_and_teams_at_once_keep_to_their_own_balances():
    """Two teams with two keys each, in every batch: no deadlock, nothing lost, nothing shared."""
    teams = [make_customer(10_000), make_customer(20_000)]
    keys = [*teams, *[team.another_key() for team in teams]]

    admissions = through_two_gates([keys[n % 4].ask(amount_nanos=100) for n in range(800)])

    assert codes_of(admissions) == ["admitted"] * 300 + ["insufficient_quota"] * 500
    assert [team.balances for team in teams] == [(10_000, 10_000), (20_000, 20_000)]


def test_budgets_are_exact_at_once():
    customer = make_customer(1_000_000, budget_day_nanos=1050)
    other = customer.another_key(budget_total_nanos=220)
    asks = [key.ask() for key in (customer, other) for _ in range(100)]

    admissions = through_two_gates(asks)

    assert codes_of(admissions) == ["admitted"] * 12 + ["budget_exceeded"] * 188
    assert (customer.spend.held_nanos, other.spend.held_nanos) == (1000, 200)


def test_holds_at_once_are_lowered_to_what_is_left():
    customer = make_customer(250)

    admissions = through_two_gates([customer.ask(minimum_nanos=10) for _ in range(50)])

    held = sorted(
        admission.amount_nanos for admission in admissions if admission.code == "admitted"
    )
    assert held == [50, 100, 100]
    assert customer.balances == (250, 250)


def test_requests_from_admission_to_settlement_at_once_come_out_exact():
    customers = [make_customer(50_000) for _ in range(3)]

    async def request(gate: Gate, customer: Customer, cost: int) -> int:
        ask = customer.ask()
        admission = await gate.admit(ask)
        assert admission.code == "admitted"
        receipt = await gate.settle(customer.end(ask, output_nanos=cost))
        return receipt.charged_nanos

    async def work() -> list[int]:
        async with open_gate() as one, open_gate() as two:
            return await asyncio.gather(
                *[request((one, two)[n % 2], customers[n % 3], n % 100) for n in range(300)]
            )

    charged = run(work())

    assert charged == [n % 100 for n in range(300)]
    for index, customer in enumerate(customers):
        assert customer.balances == (50_000 - sum(charged[index::3]), 0)


def test_a_hundred_settlements_of_one_request_settle_it_once():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> list[Any]:
        async with open_gate() as one, open_gate() as two:
            await one.admit(ask)
            ends = [
                (one, two)[n % 2].settle(customer.end(ask, output_nanos=40)) for n in range(100)
            ]
            return await asyncio.gather(*ends)

    receipts = run(work())

    assert codes_of(receipts) == ["already_ended"] * 99 + ["settled"]
    assert sum(receipt.charged_nanos for receipt in receipts) == 40
    assert customer.balances == (960, 0)


def test_an_unknown_key_and_an_unknown_account_are_named():
    customer = make_customer(100)
    stray = customer.end(customer.ask())
    stray.account_id = 0

    async def work() -> tuple[str, str, str]:
        async with open_gate() as gate:
            admission = await gate.admit(customer.ask(digests=["00" * 32]))
            who = await gate.identify(customer.ask().request_id, ["00" * 32])
            receipt = await gate.settle(stray)
        return admission.code, who.code, receipt.code

    assert run(work()) == ("invalid_api_key", "invalid_api_key", "unknown_reservation")


def test_a_refused_settlement_is_kept_and_its_neighbours_are_settled(spool_folder):
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(3)]
    ends = [customer.end(ask, output_nanos=5) for ask in asks]
    ends[1].status = 70_000

    async def work() -> list[str]:
        async with open_gate() as gate:
            await admit_all([gate], asks)
            return [receipt.code for receipt in await asyncio.gather(*map(gate.settle, ends))]

    assert run(work()) == ["settled", "refused", "settled"]
    (kept,) = spool_folder.glob("*.refused")
    assert msgspec.json.decode(kept.read_bytes(), type=Settlement) == ends[1]
    assert customer.balances == (990, 100)


def test_texts_that_the_database_can_not_hold_fail_no_settlement():
    """NUL, and halves of surrogate pairs: what upstreams and clients send now and then."""
    customer = make_customer(1000)
    ask = customer.ask()
    end = customer.end(
        ask,
        output_nanos=5,
        error="a\0b\ud800c",
        end_user="\udfff",
        attempts=[{"upstream": "x\0y\ud800"}],
    )

    async def work() -> str:
        async with open_gate() as gate:
            await gate.admit(ask)
            return (await gate.settle(end)).code

    assert run(work()) == "settled"
    record = customer.record(ask)
    assert record.error[0] + record.error[-1] == "ac"
    assert record.charged_nanos == 5
