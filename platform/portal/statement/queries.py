"""Database queries of the statement page, in addition to the statement itself."""

from datetime import UTC, date
from typing import NamedTuple
from uuid import UUID

from accounts.models import Team
from billing.models import CreditAccount, DayRoot, Transfer, UsageRecord
from billing.receipts.day_roots import roots_of
from billing.usage.statement import Line

ROOTS = 31


class RootsPage(NamedTuple):
    """A page of day roots, the latest first; an older page begins before `older`."""

    roots: list[DayRoot]
    older: date | None


def account_of(team: Team) -> CreditAccount | None:
    """Return the team's credit account; None before its first credit."""
    return CreditAccount.objects.filter(team=team).first()


def opened_on(account: CreditAccount) -> date:
    """Return the day (UTC) on which the account was opened."""
    return account.created_at.astimezone(UTC).date()


def models_of(lines: list[Line]) -> dict[str, str]:
    """Return usage lines' models by their references, which are the request ids."""
    ids = [UUID(line.reference) for line in lines if line.kind == Transfer.Kind.USAGE]
    records = UsageRecord.objects.filter(pk__in=ids).values_list("pk", "model")
    return {str(pk): model for pk, model in records}


def roots_page(account: CreditAccount | None, before: date | None) -> RootsPage:
    """Return a page of the account's day roots."""
    roots = roots_of(account.pk, limit=ROOTS + 1, before=before) if account is not None else []
    return RootsPage(roots[:ROOTS], roots[ROOTS - 1].day if len(roots) > ROOTS else None)


def root_of(account: CreditAccount | None, day: date | None) -> DayRoot | None:
    """Return the root of one day; None if it has none."""
    if account is None or day is None:
        return None
    return next(iter(roots_of(account.pk, limit=1, day=day)), None)


def read_day(text: str) -> date | None:
    """Return a day of an address; None for any other text."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
