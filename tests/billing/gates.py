"""Gates as the tests open them, and what they wait for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from billing.ledger.gate import Admission, AdmissionResult, Gate
from tests.billing.ledger_calls import Customer, connect, database


@asynccontextmanager
async def open_gate(address: str | None = None) -> AsyncIterator[Gate]:
    """Give an open gate, and close it."""
    gate = Gate(address or database())
    await gate.open()
    try:
        yield gate
    finally:
        await gate.close(5)


def codes_of(results: list[Any]) -> list[str]:
    """Return sorted codes."""
    return sorted(result.code for result in results)


async def admit_all(gates: list[Gate], asks: list[Admission]) -> list[AdmissionResult]:
    """Admit everything at once, the requests dealt out to the gates in turn."""
    work = [gates[index % len(gates)].admit(ask) for index, ask in enumerate(asks)]
    return await asyncio.gather(*work)


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
        """Return the backends that wait for the row."""
        rows = self._watcher.execute(
            "SELECT pid FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))",
            [self._holder.info.backend_pid],
        )
        return [pid for (pid,) in rows]

    def kill_waiting(self) -> None:
        """End the connections that wait, before their statements have done anything."""
        for pid in self.waiting():
            self._watcher.execute("SELECT pg_terminate_backend(%s)", [pid])

    def unlock(self) -> None:
        """Let the row go."""
        self._holder.rollback()


async def as_coroutine(work: Callable[[], None]) -> None:
    """Call a function, for where a coroutine is awaited."""
    work()
