"""Announced future prices: which models, what changes, and for which teams.

For a team under a contract it is its own price that changes, or none if the contract fixes its
rates.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from accounts.formats import dollars_text
from billing.models import ContractPrice, CreditAccount, PriceVersion, UsageHour
from billing.pricing.components import COMPONENTS
from billing.pricing.margins import rate_text
from billing.pricing.rates import Rates

USED_DAYS = 30


@dataclass(frozen=True)
class PriceChange:
    """A change of a model's price: the list price's, or of what one team pays."""

    version_id: int
    product_id: int
    model: str
    effective_from: datetime
    before: Rates
    after: Rates

    @property
    def text(self) -> str:
        """Each changed rate, old and new, in the active language."""
        return change_text(self.before, self.after)


def announced_changes(now: datetime) -> list[PriceChange]:
    """Return the announced future changes, the next first."""
    versions = (
        PriceVersion.objects.filter(
            announces=True, effective_from__gt=now, product__model__is_enabled=True
        )
        .select_related("product__model")
        .prefetch_related("product__price_versions")
    )
    found = []
    for version in versions.order_by("effective_from", "pk"):
        moment, product = version.effective_from, version.product
        earlier = [each for each in product.price_versions.all() if each.effective_from < moment]
        if earlier:
            before = max(earlier, key=lambda each: each.effective_from)
            rates = (before.rates, version.rates)
            found.append(PriceChange(version.pk, product.pk, product.model.name, moment, *rates))
    return found


def changes_for(account: CreditAccount | None, now: datetime) -> list[PriceChange]:
    """Return the announced changes of what a customer pays for models it used in 30 days."""
    changes = announced_changes(now) if account is not None else []
    if account is None or not changes:
        return []
    used = set(
        _recent_hours(now)
        .filter(account=account, model__in={change.model for change in changes})
        .values_list("model", flat=True)
    )
    contracts = _contracts_of([account.team_id], now).get(account.team_id, [])
    paid = (_paid(change, contracts) for change in changes if change.model in used)
    return [change for change in paid if change is not None]


def changes_by_team(change: PriceChange, now: datetime) -> dict[int, PriceChange]:
    """Return the change as each team that used the model in 30 days pays it, by the team's id.

    Teams whose contract fixes their rates are left out.
    """
    teams = _teams_using(change.model, now)
    contracts = _contracts_of(teams, now)
    paid = ((team, _paid(change, contracts.get(team, []))) for team in sorted(teams))
    return {team: own for team, own in paid if own is not None}


def change_text(before: Rates, after: Rates) -> str:
    """Return each changed rate, factors included, such as `input tokens $0.70 → $0.80`."""
    changes = []
    for name, component in COMPONENTS.items():
        old, new = _shown(before, name), _shown(after, name)
        if old != new:
            text = _("{components} {old} → {new}")
            if component.per > 1:
                text = _("{components} {old} → {new} per million")
            changes.append(
                text.format(
                    components=component.title,
                    old=old or _("unpriced"),
                    new=new or _("unpriced"),
                )
            )
    if before.service_tiers != after.service_tiers or before.context_tiers != after.context_tiers:
        changes.append(_("tiers change"))
    return "; ".join(changes) or _("No rate changes.")


def _shown(rates: Rates, name: str) -> str:
    rate = rates.of(name)
    if rate is None:
        return ""
    return dollars_text(f"${rate_text(rate * rates.multiplier_millionths)}")


def _paid(change: PriceChange, contracts: list[ContractPrice]) -> PriceChange | None:
    """Return the change as a team with these contracts pays it, or None if it keeps its rates."""
    moment = change.effective_from
    ending = _applying(change, contracts, moment - timedelta(microseconds=1))
    beginning = _applying(change, contracts, moment)
    if beginning is not None and beginning.has_own_rates:
        return None
    return replace(
        change,
        before=change.before if ending is None else ending.applied_to(change.before),
        after=change.after if beginning is None else beginning.applied_to(change.after),
    )


def _applying(
    change: PriceChange, contracts: list[ContractPrice], moment: datetime
) -> ContractPrice | None:
    """Return the contract that applies to the change's product at a moment, or None."""
    for contract in contracts:
        if contract.product_id in (change.product_id, None) and contract.applies_at(moment):
            return contract
    return None


def _contracts_of(
    teams: Iterable[int | None], now: datetime
) -> dict[int | None, list[ContractPrice]]:
    """Return the teams' approved contracts that haven't ended, those for one product first."""
    rows = ContractPrice.objects.filter(
        Q(ends_at__isnull=True) | Q(ends_at__gt=now),
        team__in=[team for team in teams if team is not None],
        state=ContractPrice.State.APPROVED,
    )
    found: dict[int | None, list[ContractPrice]] = defaultdict(list)
    for contract in rows.order_by(F("product").asc(nulls_last=True)):
        found[contract.team_id].append(contract)
    return found


def _teams_using(model: str, now: datetime) -> set[int]:
    """Return the ids of the teams that used a model in the last 30 days."""
    accounts = _recent_hours(now).filter(model=model, account__team__isnull=False)
    return set(accounts.values_list("account__team", flat=True))


def _recent_hours(now: datetime) -> QuerySet[UsageHour]:
    return UsageHour.objects.filter(hour__gte=now - timedelta(days=USED_DAYS))
