"""The gate: admissions and settlements of many requests and processes at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from billing import gate as gate_module
from billing import lanes
from billing.gate import Admission, Gate, LedgerUnavailableError, Settlement, Verdict
from billing.models import RateWindow, Reservation, UsageRecord
from tests.billing.customers import Customer, connect, database, make_customer, run
from tests.billing.faulty_link import FaultyLink

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("books_are_right", "spool_folder"),
]


@pytest.fixture
def spool_folder(settings: Any, tmp_path: Path) -> Path:
    """An empty spool."""
    settings.SPOOL_DIR = tmp_path / "spool"
    return settings.SPOOL_DIR


@asynccontextmanager
async def open_gate(address: str | None = None) -> AsyncIterator[Gate]:
    """Gives an open gate, and closes it."""
    gate = Gate(address or database())
    await gate.open()
    try:
        yield gate
    finally:
        await gate.close(5)


def codes_of(results: list[Any]) -> list[str]:
    """Returns sorted codes."""
    return sorted(result.code for result in results)


async def admit_all(gates: list[Gate], asks: list[Admission]) -> list[Verdict]:
    """Admits everything at once, the requests dealt out to the gates in turn."""
    work = [gates[index % len(gates)].admit(ask) for index, ask in enumerate(asks)]
    return await asyncio.gather(*work)


def through_two_gates(asks: list[Admission]) -> list[Verdict]:
    """Admits at once through two gates, as two processes would."""

    async def work() -> list[Verdict]:
        async with open_gate() as one, open_gate() as two:
            return await admit_all([one, two], asks)

    return run(work())


def test_sixty_of_a_hundred_requests_at_once_pass_a_limit_of_sixty():
    customer = make_customer(1_000_000, requests_per_minute=60)

    verdicts = through_two_gates([customer.ask() for _ in range(100)])

    assert codes_of(verdicts) == ["admitted"] * 60 + ["rate_limited_requests"] * 40
    assert customer.balances == (1_000_000, 60 * 100)
    assert RateWindow.objects.get(key=customer.key).requests == 60
    left = sorted(v.requests_remaining for v in verdicts if v.code == "admitted")
    assert left == list(range(60))


def test_tokens_at_once_pass_up_to_the_limit():
    customer = make_customer(1_000_000, tokens_per_minute=1000)

    verdicts = through_two_gates([customer.ask(tokens=70) for _ in range(50)])

    assert codes_of(verdicts) == ["admitted"] * 14 + ["rate_limited_tokens"] * 36
    assert RateWindow.objects.get(key=customer.key).tokens == 14 * 70


@pytest.mark.parametrize(("balance", "passes"), [(100_000, 333), (300, 1), (299, 0)])
def test_a_thousand_requests_at_once_hold_no_more_than_there_is(balance, passes):
    customer = make_customer(balance)

    verdicts = through_two_gates([customer.ask(amount_nanos=300) for _ in range(1000)])

    assert codes_of(verdicts) == ["admitted"] * passes + ["insufficient_quota"] * (1000 - passes)
    assert customer.balances == (balance, passes * 300)
    assert all(verdict.available_nanos >= 0 for verdict in verdicts)


def test_a_thousand_requests_at_once_share_the_last_nano_once():
    customer = make_customer(1)

    verdicts = through_two_gates([customer.ask(amount_nanos=1) for _ in range(1000)])

    assert codes_of(verdicts) == ["admitted"] + ["insufficient_quota"] * 999
    assert customer.balances == (1, 1)


def test_keys_and_teams_at_once_keep_to_their_own_balances():
    """Two teams with two keys each, in every batch: no deadlock, nothing lost, nothing shared."""
    teams = [make_customer(10_000), make_customer(20_000)]
    keys = [*teams, *[team.another_key() for team in teams]]

    verdicts = through_two_gates([keys[n % 4].ask(amount_nanos=100) for n in range(800)])

    assert codes_of(verdicts) == ["admitted"] * 300 + ["insufficient_quota"] * 500
    assert [team.balances for team in teams] == [(10_000, 10_000), (20_000, 20_000)]


def test_budgets_are_exact_at_once():
    customer = make_customer(1_000_000, budget_day_nanos=1050)
    other = customer.another_key(budget_total_nanos=220)
    asks = [key.ask() for key in (customer, other) for _ in range(100)]

    verdicts = through_two_gates(asks)

    assert codes_of(verdicts) == ["admitted"] * 12 + ["budget_exceeded"] * 188
    assert (customer.spend.held_nanos, other.spend.held_nanos) == (1000, 200)


def test_holds_at_once_are_lowered_to_what_is_left():
    customer = make_customer(250)

    verdicts = through_two_gates([customer.ask(minimum_nanos=10) for _ in range(50)])

    held = sorted(verdict.amount_nanos for verdict in verdicts if verdict.code == "admitted")
    assert held == [50, 100, 100]
    assert customer.balances == (250, 250)


def test_requests_from_admission_to_settlement_at_once_come_out_exact():
    customers = [make_customer(50_000) for _ in range(3)]

    async def request(gate: Gate, customer: Customer, cost: int) -> int:
        ask = customer.ask()
        verdict = await gate.admit(ask)
        assert verdict.code == "admitted"
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
            verdict = await gate.admit(customer.ask(digests=["00" * 32]))
            who = await gate.identify(customer.ask().request_id, ["00" * 32])
            receipt = await gate.settle(stray)
        return verdict.code, who.code, receipt.code

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


async def until(condition: Callable[[], Any]) -> None:
    """Waits for something, ten seconds at most."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("It never came.")


class LockedAccount:
    """An account's row that another transaction has locked, so that statements wait for it."""

    def __init__(self, customer: Customer) -> None:
        self._holder = connect(autocommit=False)
        self._watcher = connect()
        self._holder.execute(
            "SELECT FROM billing_creditaccount WHERE id = %s FOR UPDATE", [customer.account.pk]
        )

    def __enter__(self) -> "LockedAccount":
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.close()
        self._watcher.close()

    def waiting(self) -> list[int]:
        """Returns the backends that wait for the row."""
        rows = self._watcher.execute(
            "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))",
            [self._holder.info.backend_pid],
        )
        return [pid for (pid,) in rows]

    def kill_waiting(self) -> None:
        """Ends the connections that wait, before their statements have done anything."""
        for pid in self.waiting():
            self._watcher.execute("SELECT pg_terminate_backend(%s)", [pid])

    def unlock(self) -> None:
        """Lets the row go."""
        self._holder.rollback()


def test_a_caller_that_goes_while_it_is_admitted_leaves_no_hold():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> None:
        async with open_gate() as gate:
            with LockedAccount(customer) as account:
                caller = asyncio.create_task(gate.admit(ask))
                await until(account.waiting)
                caller.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await caller
                account.unlock()
            assert (await gate.admit(customer.ask(amount_nanos=0))).code == "admitted"

    run(work())

    assert customer.reservation(ask).state == Reservation.State.RELEASED
    assert customer.balances == (1000, 0)
    record = customer.record(ask)
    assert (record.outcome, record.status, record.charged_nanos) == ("client_closed", 499, 0)


def test_a_caller_that_goes_before_its_statement_leaves_no_hold():
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(20)]

    async def work() -> None:
        async with open_gate() as gate:
            callers = [asyncio.create_task(gate.admit(ask)) for ask in asks]
            await asyncio.sleep(0)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            await gate.admit(customer.ask(amount_nanos=0))

    run(work())

    assert customer.balances == (1000, 0)
    assert not Reservation.objects.filter(
        pk__in=[a.request_id for a in asks], state="open"
    ).exists()


def test_neighbours_of_a_caller_that_goes_are_served():
    customer = make_customer(1000)

    async def work() -> list[Any]:
        async with open_gate() as gate:
            callers = [asyncio.create_task(gate.admit(customer.ask())) for _ in range(5)]
            await asyncio.sleep(0)
            callers[2].cancel()
            return await asyncio.gather(*callers, return_exceptions=True)

    results = run(work())

    assert [getattr(result, "code", "") for result in results] == [
        "admitted", "admitted", "", "admitted", "admitted",
    ]  # fmt: skip
    assert customer.balances == (1000, 400)


def test_an_admission_that_was_killed_before_its_commit_is_made_once():
    customer = make_customer(1000)

    async def work() -> Verdict:
        async with open_gate() as gate:
            with LockedAccount(customer) as account:
                caller = asyncio.create_task(gate.admit(customer.ask()))
                await until(account.waiting)
                account.kill_waiting()
                account.unlock()
                return await caller

    assert run(work()).code == "admitted"
    assert customer.balances == (1000, 100)


def test_an_admission_whose_answer_was_lost_after_its_commit_is_made_once():
    customer = make_customer(100, requests_per_minute=2)
    first, second = customer.ask(amount_nanos=0), customer.ask()

    async def work() -> Verdict:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await gate.admit(first)
            link.lose_next_answer()
            return await gate.admit(second)

    verdict = run(work())

    assert (verdict.code, verdict.amount_nanos, verdict.requests_remaining) == ("admitted", 100, 0)
    assert customer.balances == (100, 100)


def test_a_settlement_that_was_killed_before_its_commit_is_made_once():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> str:
        async with open_gate() as gate:
            await gate.admit(ask)
            with LockedAccount(customer) as account:
                receipt = gate.settle(customer.end(ask, output_nanos=40))
                await until(account.waiting)
                account.kill_waiting()
                account.unlock()
                return (await receipt).code

    assert run(work()) == "settled"
    assert customer.balances == (960, 0)


def test_a_settlement_whose_answer_was_lost_after_its_commit_is_made_once():
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(3)]

    async def work() -> list[str]:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await admit_all([gate], asks)
            await gate.settle(customer.end(asks[0], output_nanos=40))
            link.lose_next_answer()
            ends = [gate.settle(customer.end(ask, output_nanos=40)) for ask in asks[1:]]
            return [receipt.code for receipt in await asyncio.gather(*ends)]

    assert run(work()) == ["already_ended", "already_ended"]
    assert customer.balances == (1000 - 3 * 40, 0)


def test_a_killed_server_connection_costs_no_request():
    customer = make_customer(1_000_000)

    async def work() -> list[Any]:
        async with open_gate() as gate:
            killer = asyncio.create_task(kill_now_and_then())
            results = []
            for _ in range(200):
                asks = [customer.ask() for _ in range(5)]
                results += await admit_all([gate], asks)
                ends = [gate.settle(customer.end(ask, output_nanos=1)) for ask in asks]
                results += await asyncio.gather(*ends)
            await killer
            return results

    async def kill_now_and_then() -> None:
        with connect() as own:
            for _ in range(4):
                await asyncio.sleep(0.1)
                own.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE '%%json_agg(answer)%%'"
                    " AND pid <> pg_backend_pid()"
                )

    codes = codes_of(run(work()))

    assert set(codes) <= {"admitted", "settled", "already_ended"}
    assert len(codes) == 2000
    assert customer.balances == (1_000_000 - 1000, 0)


async def timed(work: Awaitable[Any]) -> tuple[Any, float]:
    """Returns a result or exception, and how long it took."""
    began_at = time.monotonic()
    (result,) = await asyncio.gather(work, return_exceptions=True)
    return result, time.monotonic() - began_at


@pytest.fixture
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(gate_module, "ADMIT_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(lanes, "STATEMENT_TIMEOUT_SECONDS", 1.5)
    return


@pytest.mark.parametrize("fault", ["close", "hold"])
@pytest.mark.usefixtures("_little_patience")
def test_a_database_that_is_away_or_hangs_is_told_within_the_patience(fault):
    customer = make_customer(1000)

    async def work() -> tuple[list[Any], Any]:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await gate.admit(customer.ask())
            await gate.identify("00" * 16, customer.ask().digests)
            await (link.close() if fault == "close" else as_coroutine(link.hold))
            told = [
                await timed(gate.admit(customer.ask(amount_nanos=10))),
                await timed(gate.admit(customer.ask(amount_nanos=10))),
                await timed(gate.identify("00" * 16, customer.ask().digests)),
            ]
            await (link.open() if fault == "close" else as_coroutine(link.release))
            async with asyncio.timeout(10):
                while True:
                    try:
                        return told, await gate.admit(customer.ask())
                    except LedgerUnavailableError:
                        continue

    told, verdict = run(work())

    for result, seconds in told:
        assert isinstance(result, LedgerUnavailableError)
        assert seconds < 1.2
    assert verdict.code == "admitted"


async def as_coroutine(work: Callable[[], None]) -> None:
    """Calls a function, for where a coroutine is awaited."""
    work()


@pytest.mark.usefixtures("_little_patience")
def test_what_was_admitted_after_its_caller_lost_patience_is_released():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> None:
        async with open_gate() as gate:
            with LockedAccount(customer) as account:
                with pytest.raises(LedgerUnavailableError):
                    await gate.admit(ask)
                account.unlock()
            await gate.admit(customer.ask(amount_nanos=0))

    run(work())

    assert customer.reservation(ask).state == Reservation.State.RELEASED
    assert customer.balances == (1000, 0)


def test_settlements_wait_for_a_database_that_is_away():
    customer = make_customer(1000)
    ask = customer.ask()

    async def work() -> str:
        async with FaultyLink() as link, open_gate(link.address) as gate:
            await gate.admit(ask)
            await link.close()
            receipt = gate.settle(customer.end(ask, output_nanos=40))
            await asyncio.wait([receipt], timeout=0.5)
            assert not receipt.done()
            await link.open()
            return (await receipt).code

    assert run(work()) == "settled"
    assert customer.balances == (960, 0)


def test_closing_settles_what_is_queued():
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(5)]

    async def work() -> list[str]:
        async with open_gate() as gate:
            await admit_all([gate], asks)
            receipts = [gate.settle(customer.end(ask, output_nanos=1)) for ask in asks]
            await gate.close(5)
            return [receipt.result().code for receipt in receipts]

    assert run(work()) == ["settled"] * 5
    assert UsageRecord.objects.filter(account=customer.account).count() == 5


@pytest.mark.parametrize("fault", ["close", "hold"])
def test_closing_spools_what_the_database_does_not_take(fault, spool_folder):
    customer = make_customer(1000)
    asks = [customer.ask() for _ in range(3)]
    ends = [customer.end(ask, output_nanos=1) for ask in asks]

    async def work() -> tuple[list[str], float]:
        async with FaultyLink() as link:
            gate = Gate(link.address)
            await gate.open()
            await admit_all([gate], asks)
            await gate.settle(customer.end(customer.ask()))
            await (link.close() if fault == "close" else as_coroutine(link.hold))
            receipts = [gate.settle(end) for end in ends]
            await asyncio.sleep(0.1)
            began_at = time.monotonic()
            await gate.close(0.3)
            seconds = time.monotonic() - began_at
            link.release()
            return [receipt.code for receipt in await asyncio.gather(*receipts)], seconds

    codes, seconds = run(work())

    assert codes == ["spooled"] * 3
    assert seconds < 3
    (file,) = spool_folder.glob("*.jsonl")
    rows = [msgspec.json.decode(row, type=Settlement) for row in file.read_bytes().splitlines()]
    assert rows == ends


def test_closing_tells_who_waits_for_an_admission():
    customer = make_customer(1000)

    async def work() -> list[Any]:
        async with FaultyLink() as link:
            gate = Gate(link.address)
            await gate.open()
            await gate.admit(customer.ask())
            link.hold()
            callers = [asyncio.create_task(gate.admit(customer.ask())) for _ in range(3)]
            await asyncio.sleep(0.1)
            await gate.close(0)
            late = asyncio.create_task(gate.admit(customer.ask()))
            return await asyncio.gather(*callers, late, return_exceptions=True)

    assert {type(result) for result in run(work())} == {LedgerUnavailableError}


def test_a_settlement_after_the_gate_was_closed_is_spooled(spool_folder):
    """A request that is cut off last of all must not be free by accident."""
    customer = make_customer(1000)
    ask = customer.ask()
    end = customer.end(ask, output_nanos=40)

    async def work() -> str:
        async with open_gate() as gate:
            await gate.admit(ask)
            await gate.close(1)
            return (await gate.settle(end)).code

    assert run(work()) == "spooled"
    (file,) = spool_folder.glob("*.jsonl")
    assert msgspec.json.decode(file.read_bytes(), type=Settlement) == end


def test_the_gates_own_connections_do_not_outlive_it():
    async def work() -> None:
        async with open_gate() as gate:
            await gate.identify("00" * 16, ["00" * 32])

    run(work())
    with psycopg.connect(database()) as own:
        (count,) = own.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND query LIKE '%%FROM billing_identify%%' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert count == 0
