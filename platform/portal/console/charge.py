"""What only staff see of a request: its attempts, the upstream's words, our cost and margin."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.utils.text import capfirst

from accounts.models import ApiKey, Team
from billing.models import PriceVersion, UsageRecord
from billing.pricing.charge import ONE, ChargeLine, price_of
from billing.pricing.components import COMPONENTS
from billing.pricing.rates import ContextTier, Rates


class CostLine(NamedTuple):
    """What a component costs us: `amount_nanos` for `quantity` at `rate_nanos` for each `per`."""

    name: str
    quantity: int
    rate_nanos: int
    per: int
    amount_nanos: int


@dataclass(frozen=True)
class StaffCharge:
    """A request, its team and key, and the price version whose costs apply."""

    record: UsageRecord
    team: Team | None
    key: ApiKey | None
    price: PriceVersion | None

    @property
    def margin_nanos(self) -> int:
        """What we keep of the charge, in nano-dollars; negative for a loss."""
        return self.record.charged_nanos - self.record.upstream_cost_nanos

    @property
    def margin_percent(self) -> float | None:
        """The margin as a percentage of the charge; None for a free request."""
        charged = self.record.charged_nanos
        return 100 * self.margin_nanos / charged if charged else None

    @cached_property
    def cost_lines(self) -> list[CostLine]:
        """The metered quantities at the costs of the price version."""
        if self.price is None:
            return []
        lines = [ChargeLine(*line) for line in self.record.lines]
        rates = _costs_of(self.price).at_input(self.record.input_tokens)
        found = []
        for line in lines:
            component = COMPONENTS.get(line.component)
            rate = rates.of(line.component) if component else None
            if component is not None and rate:
                multiplied = rate * rates.multiplier_millionths
                amount = price_of(line.quantity, multiplied, component.per * ONE)
                label = capfirst(component.label(line.quantity))
                found.append(CostLine(label, line.quantity, rate, component.per, amount))
        return found

    @property
    def other_cost_nanos(self) -> int:
        """The recorded cost beyond the lines: failed attempts, and what was not the customer's."""
        return self.record.upstream_cost_nanos - sum(line.amount_nanos for line in self.cost_lines)


def staff_charge(request_id: UUID) -> StaffCharge | None:
    """Return what staff see of a settled request; None if there is no such one."""
    record = UsageRecord.objects.filter(pk=request_id).select_related("account__team").first()
    if record is None:
        return None
    return StaffCharge(
        record=record,
        team=record.account.team,
        key=ApiKey.objects.filter(pk=record.key_id).first(),
        price=PriceVersion.objects.filter(pk=record.price_version_id)
        .select_related("product")
        .first(),
    )


def _costs_of(price: PriceVersion) -> Rates:
    """Return what the upstream charges: a part without a cost of its own costs what its whole does.

    The columns are those of the prices, with `cost` before the unit.
    """
    columns = {}
    for component in COMPONENTS.values():
        if component.field:
            nanos = getattr(price, _cost_column(component.rate_column))
            whole = COMPONENTS[component.part_of] if nanos is None else component
            columns[component.rate_column] = getattr(price, _cost_column(whole.rate_column))
    return Rates(
        **columns,
        extra=price.extra_cost_rates,
        factor_millionths=price.cost_factor_millionths,
        context_tiers=tuple(ContextTier(**tier) for tier in price.cost_context_tiers),
        service_tiers=price.cost_service_tiers,
    )


def _cost_column(rate_column: str) -> str:
    return rate_column.replace("_nanos", "_cost_nanos", 1)
