"""Test customers, and the ledger's functions as tests call them.

Every test creates its own teams and keys and leaves them: the ledger keeps its transfers forever.
`admit`, `settle`, `identify` and `sweep` call SQL on Django's connection (or another), one
statement a call, so that a test that is rolled back leaves nothing.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import psycopg
from django.contrib.postgres.functions import TransactionNow
from django.db import connection
from django.db.models import F

from accounts.models import ApiKey, Plan, Team
from billing.ledger import postings
from billing.ledger.gate import Admission, AdmissionResult, Settlement, SettlementResult
from billing.models import (
    CatalogueVersion,
    CreditAccount,
    KeySpend,
    RateWindow,
    Reservation,
    Transfer,
    UsageRecord,
)

LedgerResult = TypeVar("LedgerResult", AdmissionResult, SettlementResult)
Result = TypeVar("Result")

ROOMY = {"requests_per_minute": 1_000_000, "tokens_per_minute": 1_000_000_000}


# The codes of the SQL functions, by the error that each becomes.
CODES = {
    postings.InsufficientCreditsError: "exceeds_credits",
    postings.ReferenceReusedError: "exists_with_different_fields",
    postings.UnknownReferenceError: "unknown",
}


@dataclass
class Customer:
    """A team with a credit account and one inference key."""

    team: Team
    account: CreditAccount
    key: ApiKey
    catalogue_version: int

    def another_key(self, **rules: Any) -> "Customer":
        """Return the same customer with a further key."""
        return Customer(
            self.team, self.account, make_key(self.team, **rules), self.catalogue_version
        )

    def ask(self, **changes: Any) -> Admission:
        """Return a request of 100 nanos and 10 tokens."""
        fields = {
            "request_id": new_id(),
            "digests": [bytes(self.key.digest).hex()],
            "model": "small",
            "surface": "openai",
            "price_version_id": 1,
            "amount_nanos": 100,
            "tokens": 10,
            "hold_seconds": 600.0,
            "catalogue_version": self.catalogue_version,
        } | changes
        return Admission(**({"minimum_nanos": fields["amount_nanos"]} | fields))

    def end(self, request: "Admission | str", **changes: Any) -> Settlement:
        """Return the settlement of a request, without a cost where none is given."""
        fields = {
            "request_id": request if isinstance(request, str) else request.request_id,
            "account_id": self.account.pk,
            "key_id": self.key.pk,
            "price_version_id": 1,
            "model": "small",
            "surface": "openai",
            "endpoint": "chat_completions",
            "outcome": "completed",
            "status": 200,
        }
        if "output_nanos" in changes:
            fields["source"] = "upstream"
        return Settlement(**(fields | changes))

    def code(self, **changes: Any) -> str:
        """Ask for a request and return the admission's code."""
        return admit(self.ask(**changes))[0].code

    def admitted(self, **changes: Any) -> Admission:
        """Return a request that was admitted."""
        ask = self.ask(**changes)
        assert admit(ask)[0].code == "admitted"
        return ask

    @property
    def balances(self) -> tuple[int, int]:
        """What is posted and held now."""
        self.account.refresh_from_db(fields=["posted_nanos", "held_nanos"])
        return self.account.posted_nanos, self.account.held_nanos

    @property
    def spend(self) -> KeySpend:
        """The key's budget counters now."""
        return KeySpend.objects.get(key=self.key)

    @property
    def transfers(self) -> list[Transfer]:
        """The account's transfers, in order."""
        return list(Transfer.objects.filter(customer=self.account).order_by("sequence"))

    def change_key(self, **fields: Any) -> None:
        """Change the key's row."""
        ApiKey.objects.filter(pk=self.key.pk).update(**fields)

    def change_team(self, **fields: Any) -> None:
        """Change the team's row."""
        Team.objects.filter(pk=self.team.pk).update(**fields)

    def age_minute(self, seconds: int) -> None:
        """Let the key's minute have begun earlier."""
        RateWindow.objects.filter(key=self.key).update(
            started_at=F("started_at") - timedelta(seconds=seconds)
        )

    def move_spend(self, day: date) -> None:
        """Let what the key has spent lie on another day."""
        KeySpend.objects.filter(key=self.key).update(day=day, month=day.replace(day=1))
        UsageRecord.objects.filter(key=self.key).update(
            created_at=datetime.combine(day, datetime.min.time(), UTC)
        )

    def record(self, request: Admission) -> UsageRecord:
        """The usage record of a request."""
        return UsageRecord.objects.get(request_id=request.request_id)

    def reservation(self, request: Admission) -> Reservation:
        """The reservation of a request."""
        return Reservation.objects.get(pk=request.request_id)


def new_id() -> str:
    """Return a request id as the relay would make it (here from chance alone)."""
    digits = secrets.token_hex(16)
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def make_key(team: Team, **rules: Any) -> ApiKey:
    """Make an inference key whose limits leave room, where `rules` don't say otherwise."""
    fields = {"name": "key", "prefix": "test", "last_four": "0000", "pepper_version": 1}
    return ApiKey.objects.create(
        team=team, digest=secrets.token_bytes(32), **(fields | ROOMY | rules)
    )


def make_customer(balance_nanos: int = 0, **rules: Any) -> Customer:
    """Make a team with credits and a key; `rules` are the key's."""
    name = f"team-{secrets.token_hex(6)}"
    plan, _ = Plan.objects.get_or_create(
        name="ledger-tests", defaults={"title": "Tests", "concurrent_requests": 1_000_000}
    )
    team = Team.objects.create(name=name, slug=name, plan=plan)
    # Without the columns that a database of the last release does not have.
    account = CreditAccount.objects.defer("open_calls", "has_budgets").get(
        pk=_value("SELECT billing_open_account(%s)", [team.pk], None)
    )
    if balance_nanos:
        postings.grant(account, balance_nanos, reference=f"grant {name}")
    version = CatalogueVersion.objects.get(pk=1).version
    return Customer(team, account, make_key(team, **rules), version)


def top_up(payment: str) -> postings.Credit:
    """Return the credit that a payment gave."""
    return postings.Credit(Transfer.Kind.TOP_UP, payment)


def database() -> str:
    """Return the address of the tests' database, for connections besides Django's."""
    parameters = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    return psycopg.conninfo.make_conninfo(
        **{name: parameters[name] for name in names if parameters.get(name)}
    )


def connect(**options: Any) -> psycopg.Connection:
    """Open a connection of its own, which commits each statement."""
    return psycopg.connect(database(), **({"autocommit": True} | options))


def admit(*asks: Admission, on: Any = None) -> list[AdmissionResult]:
    """Admit as one statement; the admissions come in the order of the requests."""
    answers = {
        admission.request_id: admission for admission in call("admit", asks, AdmissionResult, on)
    }
    missing = {ask.request_id: AdmissionResult(code="invalid_api_key") for ask in asks}
    return [(missing | answers)[ask.request_id] for ask in asks]


def settle(*ends: Settlement, on: Any = None) -> list[SettlementResult]:
    """Settle as one statement; the receipts come as the function gives them."""
    return call("settle", ends, SettlementResult, on)


def identify(customer: Customer) -> AdmissionResult | None:
    """Identify the customer's key."""
    question = {"request_id": new_id(), "digests": [bytes(customer.key.digest).hex()]}
    answers = call("identify", [question], AdmissionResult)
    return answers[0] if answers else None


def sweep(on: Any = None) -> int:
    """End the reservations that have expired, of everybody."""
    return _value("SELECT billing_sweep(100000)", [], on)


def call(
    function: str, rows: Any, answer: type[LedgerResult], on: Any = None
) -> list[LedgerResult]:
    """Call one of the ledger's batch functions."""
    text = _value(
        f"SELECT json_agg(answer)::text FROM billing_{function}(%s::jsonb) AS answer",
        [msgspec.json.encode(rows).decode()],
        on,
    )
    return msgspec.json.decode(text or b"[]", type=list[answer])


def counters_of(keys: Iterable[int]) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return what keys have spent and hold, and the requests and tokens of their minutes."""
    spends = KeySpend.objects.filter(key__in=keys).values_list("key", "total_nanos", "held_nanos")
    windows = RateWindow.objects.filter(
        key__in=keys, started_at__gt=TransactionNow() - timedelta(seconds=60)
    ).values_list("key", "requests", "tokens")
    return (
        {pk: (total, held) for pk, total, held in spends},
        {pk: (requests, tokens) for pk, requests, tokens in windows},
    )


def outcome_of(function: Any, *arguments: Any, **named: Any) -> tuple[str, int, int]:
    """Return a posting's code, as the SQL function gave it, its amount and its shortfall."""
    try:
        posting = function(*arguments, **named)
    except postings.LedgerError as error:
        return CODES[type(error)], 0, 0
    return posting.code, posting.amount_nanos, posting.shortfall_nanos


def code_of(function: Any, *arguments: Any, **named: Any) -> str:
    """Return a posting's code alone."""
    return outcome_of(function, *arguments, **named)[0]


def repeat_on_ten_connections(work: Callable[[psycopg.Connection], Result]) -> list[Result]:
    """Do something a hundred times, on ten connections at once."""

    def ten_times(_: int) -> list[Result]:
        with connect() as own:
            return [work(own) for _ in range(10)]

    with ThreadPoolExecutor(10) as threads:
        return [result for results in threads.map(ten_times, range(10)) for result in results]


def wait_until_blocked(backend: int) -> None:
    """Wait until a connection waits for a lock, ten seconds at most."""
    with connect() as watcher:
        for _ in range(1000):
            (waits,) = watcher.execute(
                "SELECT cardinality(pg_blocking_pids(%s)) > 0", [backend]
            ).fetchone()
            if waits:
                return
            time.sleep(0.01)
    raise AssertionError("nothing blocked")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, a minute at most."""

    async def bounded() -> Result:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


def _value(sql: str, parameters: list[Any], on: Any) -> Any:
    with (on or connection).cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()[0]
