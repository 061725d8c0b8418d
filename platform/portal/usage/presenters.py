"""Presenters of the usage pages: figures, requests, CSV, and the breakdown of one charge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from uuid import UUID

from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.formats import whole_text
from accounts.models import ApiKey
from api.models import VideoJob
from api.operations.base import Operation
from billing.models import (
    ContractPrice,
    CreditAccount,
    PriceVersion,
    Reservation,
    Transfer,
    UsageRecord,
)
from billing.pricing import charge as pricing
from billing.pricing.charge import ONE, ChargeLine, Line, Usage, price_of
from billing.pricing.components import COMPONENTS
from billing.pricing.money import dollars_text, factor_text
from billing.pricing.rates import SUMMARIES, Rates
from portal.ui.csv import Row
from portal.ui.outcomes import IN_PROGRESS, Outcome, outcome_of, reported_error
from portal.usage.failures import Attempt, Failure, attempt_of, failure_of

CSV_HEADER: Row = [
    "time_utc",
    "request_id",
    "key",
    "model",
    "endpoint",
    "streamed",
    "user",
    "outcome",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "images",
    "seconds",
    "pieces",
    "usage_source",
    "charged_usd",
    "contract",
    "latency_ms",
    "first_token_ms",
    *("retry_of", "session"),
]


def request_rows(
    records: list[UsageRecord], names: dict[int, str]
) -> list[tuple[UsageRecord, Outcome, str]]:
    """Return the list's rows: each record with its outcome in words and its key's name."""
    return [(row, outcome_of(row), names.get(row.key_id, "")) for row in records]


def csv_batches(batches: Iterator[list[UsageRecord]], names: dict[int, str]) -> Iterator[list[Row]]:
    """Yield the CSV file's rows, batch by batch; `names` maps key ids to names."""
    for batch in batches:
        yield [_csv_row(record, names) for record in batch]


def _csv_row(record: UsageRecord, names: dict[int, str]) -> Row:
    return [
        record.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        str(record.request_id),
        names.get(record.key_id, ""),
        record.model,
        record.endpoint,
        "yes" if record.streamed else "no",
        record.end_user,
        record.outcome,
        record.input_tokens,
        record.cached_tokens,
        record.output_tokens,
        record.reasoning_tokens,
        record.images,
        record.seconds,
        record.pieces,
        record.source,
        dollars_text(record.charged_nanos),
        record.contract_id or "",
        record.latency_ms,
        record.first_token_ms,
        str(record.retry_of or ""),
        record.session_id,
    ]


@dataclass(frozen=True)
class BillLine:
    """One line of the bill: the charge line as recorded, and the amount on record."""

    name: str
    stated: ChargeLine
    recorded_nanos: int

    @property
    def factor(self) -> str:
        """The price's factor; empty if it is 1."""
        millionths = self.stated.factor_millionths
        return "" if millionths == ONE else factor_text(millionths)

    @property
    def tiers(self) -> str:
        """The context and service tier that it is priced at, in words; empty if neither applies."""
        above, tier = self.stated.above_input_tokens, self.stated.service_tier
        texts = []
        if above:
            texts.append(_("above {number} input tokens").format(number=whole_text(above)))
        if tier:
            texts.append(_("service tier {tier}").format(tier=tier))
        return ", ".join(texts)

    @property
    def exact_nanos(self) -> Decimal:
        """The product before rounding, in nano-dollars."""
        line = self.stated
        return Decimal(line.quantity * line.rate_nanos * line.factor_millionths) / (line.per * ONE)

    @property
    def nanos(self) -> int:
        """The product, rounded half up by the ledger's own rule."""
        line = self.stated
        return price_of(line.quantity, line.rate_nanos * line.factor_millionths, line.per * ONE)

    @property
    def is_rounded(self) -> bool:
        """Whether the product had to be rounded."""
        return self.exact_nanos != self.nanos

    @property
    def agrees(self) -> bool:
        """Whether the amount on record is the product."""
        return self.nanos == self.recorded_nanos


@dataclass(frozen=True)
class ChargePresenter:
    """A request's hold, usage, prices, settlement and transfer, as far as they exist.

    `operation` is the requested operation; None if unknown. `retries` are the requests with which
    the client repeated this one.
    """

    request_id: UUID
    account: CreditAccount
    reservation: Reservation | None
    record: UsageRecord | None
    price: PriceVersion | None
    transfer: Transfer | None
    key: ApiKey | None
    video: VideoJob | None
    operation: Operation | None
    retries: list[UUID]
    contract: ContractPrice | None = None

    @property
    def rates(self) -> Rates | None:
        """The rates that apply: the contract's, or the price version's; None if not on file."""
        if self.price is None:
            return None
        listed = self.price.rates
        return self.contract.applied_to(listed) if self.contract is not None else listed

    @property
    def model(self) -> str:
        """The model's public name."""
        found = self.record or self.reservation
        return found.model if found is not None else ""

    @property
    def outcome(self) -> Outcome:
        """The outcome in words."""
        return outcome_of(self.record) if self.record is not None else IN_PROGRESS

    @property
    def error(self) -> str:
        """The error that the customer's program received."""
        return reported_error(self.record) if self.record is not None else ""

    @property
    def failure(self) -> Failure | None:
        """Why it failed; None for a request that is running or was completed."""
        return failure_of(self.record) if self.record is not None else None

    @property
    def held_nanos(self) -> int:
        """The hold, in nano-dollars."""
        if self.reservation is not None:
            return self.reservation.amount_nanos
        return self.record.reserved_nanos if self.record is not None else 0

    @property
    def has_max_tokens(self) -> bool:
        """Whether the operation has a `max_tokens` parameter."""
        body = self.operation.body if self.operation else None
        return body is not None and "max_tokens" in body.__struct_encode_fields__

    @property
    def is_input_only(self) -> bool:
        """Whether the request is charged for input tokens only."""
        return (
            self.operation is not None
            and not self.has_max_tokens
            and self.price is not None
            and self.price.input_nanos_per_million > 0
        )

    @property
    def released_nanos(self) -> int:
        """The part of the hold that was released."""
        charged = self.record.charged_nanos if self.record is not None else 0
        return max(0, self.held_nanos - charged)

    @property
    def is_over_hold(self) -> bool:
        """Whether it cost more than was held."""
        return self.record is not None and self.record.cost_nanos > self.held_nanos

    @cached_property
    def attempts(self) -> list[Attempt]:
        """The calls of providers, in order."""
        if self.record is None:
            return []
        made = self.record.attempts
        has_begun = self.record.first_token_ms is not None
        return [
            attempt_of(number, each, has_begun=has_begun and number == len(made))
            for number, each in enumerate(made, 1)
        ]

    @cached_property
    def lines(self) -> list[BillLine]:
        """The bill's lines; for records from before lines were stored, computed from the price."""
        record = self.record
        if record is None or record.source == UsageRecord.Source.NONE:
            return []
        if record.lines:
            return [_bill_line(line, record.lines, line[4]) for line in record.lines]
        if self.price is None:
            return []
        worked_out = pricing.charge_of(self.price.rates, _usage_of(record)).lines
        return [
            _bill_line(line, worked_out, _own_column(record, line[0], line[4]))
            for line in worked_out
        ]

    @property
    def sum_nanos(self) -> int:
        """The lines' sum, recomputed from quantities and rates."""
        return sum(line.nanos for line in self.lines)

    @cached_property
    def disagreements(self) -> list[str]:
        """Discrepancies in the record, in words; empty for a correct charge."""
        record = self.record
        if record is None:
            return []
        found = []
        if self.price is None and not record.lines:
            found.append(_("The price version is not on file, so the sum could not be verified."))
        else:
            found += [
                _("{component}: the recorded amount differs.").format(component=line.name)
                for line in self.lines
                if not line.agrees
            ]
            found += self._other_rates()
            found += self._other_sums(record)
            if self.sum_nanos != record.cost_nanos:
                found.append(_("The lines don't add up to the recorded cost."))
        if record.charged_nanos + record.written_off_nanos != record.cost_nanos:
            found.append(_("The charged and the waived amount don't add up to the cost."))
        moved = self.transfer.amount_nanos if self.transfer is not None else 0
        if moved != record.charged_nanos:
            found.append(_("The transfer's amount differs from the charge."))
        return found

    def _other_rates(self) -> list[str]:
        """Return a message for each line whose rate, factor or tier isn't the price version's."""
        rates = self.rates
        if rates is None or self.record is None:
            return []
        input_tokens = self.record.input_tokens
        return [
            _("{component}: the price version has a different price.").format(component=line.name)
            for line in self.lines
            if not _is_priced_by(rates, input_tokens, line.stated)
        ]

    def _other_sums(self, record: UsageRecord) -> list[str]:
        """Return a message for each of the record's columns that isn't the sum of its lines."""
        sums = dict.fromkeys(SUMMARIES, 0)
        for line in self.lines:
            component = COMPONENTS.get(line.stated.component)
            sums[component.summary if component else "units_nanos"] += line.nanos
        return [
            _("{component}: the recorded sum differs.").format(component=_SUMMARY_NAMES[column])
            for column, nanos in sums.items()
            if getattr(record, column) != nanos
        ]


_SUMMARY_NAMES = {
    "input_nanos": gettext_lazy("Input"),
    "cached_nanos": gettext_lazy("Cached input"),
    "output_nanos": gettext_lazy("Output"),
    "reasoning_nanos": gettext_lazy("Reasoning"),
    "units_nanos": gettext_lazy("Pieces"),
}


def _usage_of(record: UsageRecord) -> Usage:
    """Return the usage of a record from before lines were stored."""
    return Usage(
        input_tokens=record.input_tokens,
        cached_tokens=record.cached_tokens,
        output_tokens=record.output_tokens,
        reasoning_tokens=record.reasoning_tokens,
        images=record.images,
        seconds=record.seconds,
        pieces=record.pieces,
    )


def _own_column(record: UsageRecord, name: str, amount_nanos: int) -> int:
    """Return the amount in the component's column; units share one, so theirs is the given one."""
    summary = COMPONENTS[name].summary
    return amount_nanos if summary == "units_nanos" else getattr(record, summary)


def _is_priced_by(rates: Rates, input_tokens: int, line: ChargeLine) -> bool:
    """Return whether the rates for that much input have the line's rate, factor and tiers."""
    if line.component not in COMPONENTS:
        return False
    found = rates.at_service_tier(line.service_tier).at_input(input_tokens)
    return (
        found.of(line.component),
        found.multiplier_millionths,
        found.above_input_tokens,
        found.service_tier,
        found.contract,
    ) == line[2:3] + line[5:]


def _bill_line(line: Line, lines: Sequence[Line], recorded_nanos: int) -> BillLine:
    stated = ChargeLine(*line)
    component = COMPONENTS.get(stated.component)
    label = component.title if component else stated.component
    if component and stated.quantity == 1:
        label = component.label(1)
    if component and component.rest_title and _has_part(stated.component, lines):
        label = component.rest_title
    return BillLine(capfirst(label), stated, recorded_nanos)


def _has_part(name: str, lines: Sequence[Line]) -> bool:
    """Return whether one of the lines belongs to a part of the component."""
    return any(other[0] in COMPONENTS and COMPONENTS[other[0]].part_of == name for other in lines)
