"""Account statements: the transfers between an opening and a closing balance, with proof.

A statement covers consecutive transfers. Its totals are added up from their amounts, and compared
with the balances that the ledger recorded after each of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    BigIntegerField,
    Count,
    F,
    Func,
    IntegerField,
    Max,
    Min,
    Q,
    QuerySet,
    Sum,
    Value,
)

from billing.models import CreditAccount, Transfer
from billing.usage.records import start_of

BATCH_ROWS = 2000


@dataclass(frozen=True)
class Line:
    """A transfer, or a day's usage transfers. Debits have a negative `amount_nanos`."""

    at: datetime
    kind: str
    amount_nanos: int
    sequence: int
    balance_nanos: int
    count: int = 1
    reference: str = ""
    memo: str = ""
    is_day: bool = False


@dataclass(frozen=True)
class Statement:
    """A period's totals in nano-dollars, and the balances that the ledger recorded.

    Its transfers are those with sequences from `first` to before `end`.
    """

    account: CreditAccount
    first: int
    end: int
    opening_nanos: int
    credits_nanos: int
    debits_nanos: int
    recorded_opening_nanos: int
    recorded_closing_nanos: int

    @property
    def closing_nanos(self) -> int:
        """The balance after the last transfer, by the amounts."""
        return self.opening_nanos + self.credits_nanos - self.debits_nanos

    @property
    def agrees(self) -> bool:
        """Whether the amounts add up to the balances that the ledger recorded."""
        return (
            self.opening_nanos == self.recorded_opening_nanos
            and self.closing_nanos == self.recorded_closing_nanos
        )


def statement_of(account: CreditAccount, since: datetime, until: datetime) -> Statement:
    """Return the account's statement from `since` to before `until`, summed from its transfers.

    Transfers posted during the call are not included.
    """
    end_of_all = (
        CreditAccount.objects.values_list("last_sequence", flat=True).get(pk=account.pk) + 1
    )
    own = Transfer.objects.filter(customer=account, sequence__lt=end_of_all)
    bounds = own.aggregate(
        first=Min("sequence", filter=Q(created_at__gte=since)),
        end=Min("sequence", filter=Q(created_at__gte=until)),
    )
    first, end = bounds["first"] or end_of_all, bounds["end"] or end_of_all
    is_credit = Q(credit_account=account)
    is_before, is_in = Q(sequence__lt=first), Q(sequence__gte=first)
    summed = own.filter(sequence__lt=end).aggregate(
        credits_before=_sum_where(is_credit & is_before),
        debits_before=_sum_where(~is_credit & is_before),
        credits=_sum_where(is_credit & is_in),
        debits=_sum_where(~is_credit & is_in),
    )
    return Statement(
        account=account,
        first=first,
        end=end,
        opening_nanos=summed["credits_before"] - summed["debits_before"],
        credits_nanos=summed["credits"],
        debits_nanos=summed["debits"],
        recorded_opening_nanos=_recorded_before(account, first),
        recorded_closing_nanos=_recorded_before(account, end),
    )


def lines_by_day(statement: Statement) -> list[Line]:
    """Return the statement's lines, with a day's usage between two other transfers as one line."""
    others = list(_transfers(statement).exclude(kind=Transfer.Kind.USAGE).order_by("sequence"))
    runs = (
        _transfers(statement)
        .filter(kind=Transfer.Kind.USAGE)
        .values(**_run_between(others), day=start_of("created_at", timedelta(days=1)))
        .annotate(amount=Sum("amount_nanos"), transfers=Count("*"), last=Max("sequence"))
    )
    found = [_line(statement, row) for row in others]
    found += [
        Line(
            at=run["day"],
            kind=Transfer.Kind.USAGE,
            amount_nanos=-int(run["amount"]),
            sequence=run["last"],
            balance_nanos=0,
            count=run["transfers"],
            is_day=True,
        )
        for run in runs
    ]
    return _balanced(sorted(found, key=attrgetter("sequence")), statement.opening_nanos)


def lines_from(statement: Statement, start: int, rows: int) -> list[Line]:
    """Return up to `rows` lines of the statement's transfers, from the sequence `start` on."""
    own = Transfer.objects.filter(customer=statement.account, sequence__lt=start)
    is_credit = Q(credit_account=statement.account)
    before = own.aggregate(credits=_sum_where(is_credit), debits=_sum_where(~is_credit))
    found = _transfers(statement).filter(sequence__gte=start).order_by("sequence")[:rows]
    lines = [_line(statement, row) for row in found]
    return _balanced(lines, before["credits"] - before["debits"])


def every_line(statement: Statement) -> Iterator[list[Line]]:
    """Yield the lines of all the statement's transfers in batches, with one query each."""
    start, balance_nanos = statement.first, statement.opening_nanos
    while True:
        rows = _transfers(statement).filter(sequence__gte=start).order_by("sequence")[:BATCH_ROWS]
        lines = _balanced([_line(statement, row) for row in rows], balance_nanos)
        if not lines:
            return
        yield lines
        start, balance_nanos = lines[-1].sequence + 1, lines[-1].balance_nanos


def _run_between(others: list[Transfer]) -> dict[str, Func]:
    """Return a grouping that separates usage before and after each of the other transfers."""
    if not others:
        return {}
    thresholds = Value([row.sequence for row in others], ArrayField(BigIntegerField()))
    run = Func(
        F("sequence"),
        thresholds,
        function="width_bucket",
        template="%(function)s(%(expressions)s::bigint[])",
        output_field=IntegerField(),
    )
    return {"run": run}


def _transfers(statement: Statement) -> QuerySet[Transfer]:
    return Transfer.objects.filter(
        customer=statement.account, sequence__gte=statement.first, sequence__lt=statement.end
    )


def _recorded_before(account: CreditAccount, sequence: int) -> int:
    """Return the balance after the last transfer before a sequence."""
    earlier = Transfer.objects.filter(customer=account, sequence__lt=sequence)
    recorded = earlier.order_by("-sequence").values_list("balance_nanos", flat=True).first()
    return recorded or 0


def _sum_where(condition: Q) -> Sum:
    return Sum("amount_nanos", filter=condition, default=0, output_field=BigIntegerField())


def _line(statement: Statement, row: Transfer) -> Line:
    is_credit = row.credit_account_id == statement.account.pk
    return Line(
        at=row.created_at,
        kind=row.kind,
        amount_nanos=row.amount_nanos if is_credit else -row.amount_nanos,
        sequence=row.sequence or 0,
        balance_nanos=0,
        reference=row.reference,
        memo=row.memo,
    )


def _balanced(lines: list[Line], opening_nanos: int) -> list[Line]:
    """Return the lines with running balances, from the opening balance on."""
    balance_nanos, balanced = opening_nanos, []
    for line in lines:
        balance_nanos += line.amount_nanos
        balanced.append(replace(line, balance_nanos=balance_nanos))
    return balanced
