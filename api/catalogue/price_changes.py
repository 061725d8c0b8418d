"""Announced future prices: which models, what changes, and which teams use them."""

from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.formats import dollars_text
from billing.models import CreditAccount, PriceVersion, UsageHour
from billing.pricing.components import COMPONENTS
from billing.pricing.margins import rate_text
from billing.pricing.rates import Rates

USED_DAYS = 30


class PriceChange(NamedTuple):
    """A change of a model's price. `text` lists each changed rate, old and new."""

    version_id: int
    model: str
    effective_from: datetime
    text: str


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
            text = change_text(before.rates, version.rates)
            found.append(PriceChange(version.pk, product.model.name, moment, text))
    return found


def changes_for(account: CreditAccount | None, now: datetime) -> list[PriceChange]:
    """Return the announced changes of models that a customer used in the last 30 days."""
    changes = announced_changes(now) if account is not None else []
    if not changes:
        return []
    used = set(
        _recent_hours(now)
        .filter(account=account, model__in={change.model for change in changes})
        .values_list("model", flat=True)
    )
    return [change for change in changes if change.model in used]


def teams_using(model: str, now: datetime) -> set[int]:
    """Return the ids of the teams that used a model in the last 30 days."""
    accounts = _recent_hours(now).filter(model=model, account__team__isnull=False)
    return set(accounts.values_list("account__team", flat=True))


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


def _recent_hours(now: datetime) -> QuerySet[UsageHour]:
    return UsageHour.objects.filter(hour__gte=now - timedelta(days=USED_DAYS))
