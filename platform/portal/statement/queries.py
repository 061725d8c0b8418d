"""Database queries of the statement page, in addition to the statement itself."""

from datetime import UTC, date
from uuid import UUID

from accounts.models import Team
from billing.models import CreditAccount, Transfer, UsageRecord
from billing.usage.statement import Line


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
