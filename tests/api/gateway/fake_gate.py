"""A ledger that admits everybody, remembers all, and does as the test says."""

import asyncio

from billing.ledger.extension import Extension, ExtensionResult
from billing.ledger.gate import (
    Admission,
    AdmissionResult,
    LedgerUnavailableError,
    Settlement,
    SettlementResult,
)
from billing.ledger.refusal_details import TightestBudget


class FakeGate:
    """Stands in for `billing.ledger.gate.Gate`."""

    def __init__(self) -> None:
        self.admissions: list[Admission] = []
        self.settlements: list[Settlement] = []
        self.growth: list[tuple[str, int, int]] = []
        self.extensions: list[Extension] = []
        # What holds may grow to, in all; and what becomes of those that can't.
        self.most_held_nanos: int | None = None
        self.extension_code = "insufficient_quota"
        self.extensions_wait: asyncio.Event | None = None
        self.identified = 0
        # Whose a key is, by its digest; all others are one team's.
        self.teams: dict[str, int] = {}
        self.is_away = False
        self.code = "admitted"
        self.key_code = "identified"
        self.budget: TightestBudget | None = None
        self.catalogue_version = 1
        self.granted_nanos: int | None = None
        self.available_nanos = 10_000_000_000
        self.receipts_wait: asyncio.Event | None = None

    def _verdict(self, code: str, digests: list[str], amount_nanos: int = 0) -> AdmissionResult:
        return AdmissionResult(
            code=code,
            catalogue_version=self.catalogue_version,
            key_id=1,
            account_id=2,
            team_id=self.teams.get(digests[0], 3),
            amount_nanos=amount_nanos,
            available_nanos=self.available_nanos,
            requests_limit=60,
            requests_remaining=59,
            tokens_limit=120_000,
            tokens_remaining=119_000,
            reset_at=2_000_000_000,
            retry_after_seconds=7,
            budget=self.budget,
        )

    async def open(self) -> None: ...

    async def close(self, timeout_seconds: float) -> None: ...

    async def admit(self, admission: Admission) -> AdmissionResult:
        await asyncio.sleep(0)
        if self.is_away:
            raise LedgerUnavailableError
        self.admissions.append(admission)
        if admission.catalogue_version != self.catalogue_version:
            return self._verdict("stale_catalogue", admission.digests)
        granted = admission.amount_nanos if self.granted_nanos is None else self.granted_nanos
        return self._verdict(self.code, admission.digests, granted)

    async def identify(self, request_id: str, digests: list[str]) -> AdmissionResult:
        await asyncio.sleep(0)
        if self.is_away:
            raise LedgerUnavailableError
        self.identified += 1
        return self._verdict(self.key_code, digests)

    def count_growth(self, request_id: str, account_id: int, tokens: int) -> None:
        self.growth.append((request_id, account_id, tokens))

    def extend(self, extension: Extension) -> "asyncio.Future[ExtensionResult]":
        self.extensions.append(extension)
        return asyncio.get_running_loop().create_task(self._extended(extension))

    async def _extended(self, extension: Extension) -> ExtensionResult:
        if self.extensions_wait is not None:
            await self.extensions_wait.wait()
        await asyncio.sleep(0)
        if self.is_away:
            raise LedgerUnavailableError
        held = extension.amount_nanos
        if self.most_held_nanos is not None:
            held = min(held, self.most_held_nanos)
        code = "extended" if held >= extension.minimum_nanos else self.extension_code
        return ExtensionResult(request_id=extension.request_id, code=code, amount_nanos=held)

    def settle(self, settlement: Settlement) -> "asyncio.Future[SettlementResult]":
        self.settlements.append(settlement)
        receipt: asyncio.Future[SettlementResult] = asyncio.get_running_loop().create_future()
        if self.receipts_wait is None:
            receipt.set_result(SettlementResult(code="settled"))
        else:
            event = self.receipts_wait

            async def later() -> None:
                await event.wait()
                receipt.set_result(SettlementResult(code="settled"))

            self._later = asyncio.get_running_loop().create_task(later())
        return receipt

    @property
    def only(self) -> Settlement:
        """The one settlement that there must be."""
        assert len(self.settlements) == 1, self.settlements
        return self.settlements[0]
