"""What past usage would have cost at other rates."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from django.db import connection
from django.db.models import Sum

from accounts.models import Team
from billing.models import ContractPrice, CreditAccount, UsageHour
from billing.pricing.charge import ONE, Usage, charge_of, price_of
from billing.pricing.components import COMPONENTS
from billing.pricing.rates import Rates

LARGEST = 10


class Repriced(NamedTuple):
    """A customer's usage of a model: what it cost, and what it would have cost.

    `contract` has the terms of the contract price it would have been charged at, if any.
    """

    team: str
    requests: int
    charged_nanos: int
    would_nanos: int
    contract: str = ""

    @property
    def change_percent(self) -> float | None:
        """The change in percent of what it cost; None where it cost nothing."""
        change = self.would_nanos - self.charged_nanos
        return 100 * change / self.charged_nanos if self.charged_nanos else None


def repriced_customers(
    model: str, rates: Rates, since: datetime, contracts: Mapping[int, ContractPrice]
) -> list[Repriced]:
    """Return the largest customers of a model since a full hour, with their usage at `rates`.

    The largest are those with the most tokens and requests charged. A team among `contracts`, by
    its id, pays what its contract makes of `rates`. Tokens of text are priced from the hourly
    roll-up; with tiers, contracts, or what is sold by the piece, from each request's lines.
    """
    hours = UsageHour.objects.filter(model=model, hour__gte=since)
    figures = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
    sums = {name: Sum(name) for name in ("requests", "charged_nanos", *figures)}
    largest = list(
        hours.values("account", "account__team", "account__team__slug")
        .annotate(**{f"sum_{name}": total for name, total in sums.items()})
        .order_by("-sum_charged_nanos", "-sum_requests", "account")[:LARGEST]
    )
    would: dict[int, int] = {}
    listed = [row for row in largest if row["account__team"] not in contracts]
    if rates.is_text_only:
        for row in listed:
            usage = Usage(requests=0, **{name: row[f"sum_{name}"] for name in figures})
            would[row["account"]] = charge_of(rates, usage).total_nanos
    elif listed:
        would = _by_lines(model, rates, since, [row["account"] for row in listed])
    found = []
    for row in largest:
        account, contract = row["account"], contracts.get(row["account__team"])
        if contract is not None:
            would |= _by_lines(model, contract.applied_to(rates), since, [account])
        found.append(
            Repriced(
                row["account__team__slug"] or "",
                row["sum_requests"],
                row["sum_charged_nanos"],
                would.get(account, 0),
                contract.terms if contract is not None else "",
            )
        )
    return found


def repriced_account(team: Team, model: str, rates: Rates, since: datetime) -> int:
    """Return what a team's usage of a model since a full hour would cost at `rates`.

    The result is in nano-dollars, priced from each request's lines.
    """
    accounts = list(CreditAccount.objects.filter(team=team).values_list("pk", flat=True))
    return _by_lines(model, rates, since, accounts).get(accounts[0], 0) if accounts else 0


_LINES = """
SELECT account_id, step, line->>0, coalesce(line->>7, ''), sum((line->>1)::numeric)
FROM (
    SELECT u.account_id, u.lines,
           (SELECT coalesce(max(t), 0) FROM unnest(%s::bigint[]) AS t
            WHERE t < u.input_tokens) AS step
    FROM billing_usagerecord u
    WHERE u.account_id = ANY(%s) AND u.created_at >= %s AND u.model = %s
) AS record, jsonb_array_elements(lines) AS line
GROUP BY 1, 2, 3, 4
"""


def _by_lines(model: str, rates: Rates, since: datetime, accounts: list[int]) -> dict[int, int]:
    """Return what the lines of the accounts' requests would cost at `rates`, in nano-dollars."""
    thresholds = [tier.above_input_tokens for tier in rates.context_tiers]
    totals: dict[int, int] = defaultdict(int)
    with connection.cursor() as cursor:
        cursor.execute(_LINES, [thresholds, accounts, since, model])
        for account, step, name, service_tier, quantity in cursor.fetchall():
            component = COMPONENTS.get(name)
            if component is None:
                continue
            reached = rates.at_service_tier(service_tier).at_input(int(step) + 1)
            times = reached.charged(name) * reached.multiplier_millionths
            totals[account] += price_of(int(quantity), times, component.per * ONE)
    return totals
