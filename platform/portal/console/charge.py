"""What only staff see of a request: attempts, upstream errors, our cost and margin."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.utils.text import capfirst

from accounts.models import ApiKey, Team
from billing.models import ContractPrice, PriceVersion, UsageCorrection, UsageRecord
from billing.pricing.charge import ChargeLine
from billing.pricing.components import COMPONENTS


class CostLine(NamedTuple):
    """A component's cost to us at an upstream: `amount_nanos` for `quantity` at `rate_nanos`.

    The rate is for each `per`.
    """

    upstream: str
    name: str
    quantity: int
    rate_nanos: int
    per: int
    amount_nanos: int


@dataclass(frozen=True)
class StaffCharge:
    """A request, its team and key, and the price version that it was charged by.

    `correction` is that of its usage, if an estimate was corrected to the upstream's figures.
    """

    record: UsageRecord
    team: Team | None
    key: ApiKey | None
    price: PriceVersion | None
    contract: ContractPrice | None
    correction: UsageCorrection | None

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
        """What each upstream that was called charges us, component by component."""
        return [
            _cost_line(cost["upstream"], ChargeLine(*line))
            for cost in self.record.cost_lines
            for line in cost["lines"]
        ]

    @property
    def other_cost_nanos(self) -> int:
        """The recorded cost beyond the lines, of records that have none."""
        return self.record.upstream_cost_nanos - sum(line.amount_nanos for line in self.cost_lines)


def staff_charge(request_id: UUID) -> StaffCharge | None:
    """Return what staff see of a settled request; None if there is none."""
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
        contract=ContractPrice.objects.filter(pk=record.contract_id or 0).first(),
        correction=_correction_of(record),
    )


def _correction_of(record: UsageRecord) -> UsageCorrection | None:
    if record.source != UsageRecord.Source.ESTIMATED:
        return None
    found = UsageCorrection.objects.filter(pk=record.pk)
    return found.select_related("statement").first()


def _cost_line(upstream: str, line: ChargeLine) -> CostLine:
    component = COMPONENTS.get(line.component)
    name = component.label(line.quantity) if component else line.component
    return CostLine(
        upstream, capfirst(name), line.quantity, line.rate_nanos, line.per, line.amount_nanos
    )
