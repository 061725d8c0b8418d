"""How a request came to its charge, from the hold to the balance, and whether the sums agree."""

from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from uuid import UUID

from accounts.models import ApiKey
from api.models import VideoJob
from billing.models import CreditAccount, PriceVersion, Reservation, Transfer, UsageRecord
from billing.pricing.money import PER_MILLION, price_of
from portal.ui.outcomes import IN_PROGRESS, Outcome, outcome_of, reported_error


@dataclass(frozen=True)
class Component:
    """One line of the bill: `quantity` at a price, and what the books have for it."""

    name: str
    quantity: int
    price_nanos: int
    recorded_nanos: int
    is_per_million: bool = True

    @property
    def exact_nanos(self) -> Decimal:
        """The product before rounding, in nano-dollars."""
        product = Decimal(self.quantity * self.price_nanos)
        return product / PER_MILLION if self.is_per_million else product

    @property
    def nanos(self) -> int:
        """The product, rounded half up by the ledger's own rule."""
        if self.is_per_million:
            return price_of(self.quantity, self.price_nanos)
        return self.quantity * self.price_nanos

    @property
    def is_rounded(self) -> bool:
        """Whether there was anything to round."""
        return self.exact_nanos != self.nanos

    @property
    def agrees(self) -> bool:
        """Whether the books have what the product is."""
        return self.nanos == self.recorded_nanos


@dataclass(frozen=True)
class Attempt:
    """One call of a provider, without what is the operator's business."""

    number: int
    text: str
    badge: str
    latency_ms: int


@dataclass(frozen=True)
class Charge:
    """A request's hold, usage, prices, settlement and transfer, as far as they exist."""

    request_id: UUID
    account: CreditAccount
    reservation: Reservation | None
    record: UsageRecord | None
    price: PriceVersion | None
    transfer: Transfer | None
    key: ApiKey | None
    video: VideoJob | None

    @property
    def model(self) -> str:
        """The model's public name."""
        found = self.record or self.reservation
        return found.model if found is not None else ""

    @property
    def outcome(self) -> Outcome:
        """How it ended, in words."""
        return outcome_of(self.record) if self.record is not None else IN_PROGRESS

    @property
    def error(self) -> str:
        """What the customer's program was told went wrong."""
        return reported_error(self.record) if self.record is not None else ""

    @property
    def held_nanos(self) -> int:
        """What was held for it."""
        if self.reservation is not None:
            return self.reservation.amount_nanos
        return self.record.reserved_nanos if self.record is not None else 0

    @property
    def released_nanos(self) -> int:
        """What of the hold was not needed."""
        charged = self.record.charged_nanos if self.record is not None else 0
        return max(0, self.held_nanos - charged)

    @property
    def is_over_hold(self) -> bool:
        """Whether it cost more than was held."""
        return self.record is not None and self.record.cost_nanos > self.held_nanos

    @cached_property
    def attempts(self) -> list[Attempt]:
        """Its calls of providers, in order."""
        made = self.record.attempts if self.record is not None else []
        return [_attempt(number, each) for number, each in enumerate(made, 1)]

    @cached_property
    def components(self) -> list[Component]:
        """The bill's lines of tokens, those of nothing left out."""
        record, price = self.record, self.price
        if record is None or price is None:
            return []
        cached_price = _or(price.cached_input_nanos_per_million, price.input_nanos_per_million)
        reasoning_price = _or(price.reasoning_nanos_per_million, price.output_nanos_per_million)
        lines = [
            Component(
                "Input tokens" if not record.cached_tokens else "Input tokens, not cached",
                record.input_tokens - record.cached_tokens,
                price.input_nanos_per_million,
                record.input_nanos,
            ),
            Component(
                "Cached input tokens", record.cached_tokens, cached_price, record.cached_nanos
            ),
            Component(
                "Output tokens" if not record.reasoning_tokens else "Output tokens, the answer",
                record.output_tokens - record.reasoning_tokens,
                price.output_nanos_per_million,
                record.output_nanos,
            ),
            Component(
                "Reasoning tokens", record.reasoning_tokens, reasoning_price, record.reasoning_nanos
            ),
        ]
        return [line for line in lines if line.quantity or line.recorded_nanos]

    @cached_property
    def units(self) -> list[Component]:
        """The bill's lines of what is counted by the piece; the books have their sum."""
        record, price = self.record, self.price
        if record is None or price is None:
            return []
        answered = 1 if record.source != UsageRecord.Source.NONE else 0
        counted = [
            ("Images", record.images, price.image_nanos),
            ("Seconds", record.seconds, price.second_nanos),
            ("Videos", record.pieces, price.piece_nanos),
            ("Answered request", answered, price.request_nanos),
        ]
        return [
            Component(name, quantity, nanos, quantity * nanos, is_per_million=False)
            for name, quantity, nanos in counted
            if quantity and nanos
        ]

    @property
    def sum_nanos(self) -> int:
        """The lines' sum, computed here from counts and prices."""
        return sum(line.nanos for line in [*self.components, *self.units])

    @cached_property
    def disagreements(self) -> list[str]:
        """What in the books is not what it should be; empty for a charge that is right."""
        record = self.record
        if record is None:
            return []
        found = []
        if self.price is None:
            found.append("The price version is not on file, so the sum could not be checked.")
        else:
            found += [
                f"{line.name}: the books differ." for line in self.components if not line.agrees
            ]
            if sum(line.nanos for line in self.units) != record.units_nanos:
                found.append("Pieces: the books differ.")
            if self.sum_nanos != record.cost_nanos:
                found.append("The lines' sum is not the cost in the books.")
        if record.charged_nanos + record.written_off_nanos != record.cost_nanos:
            found.append("What was charged and what was waived are not the cost.")
        moved = self.transfer.amount_nanos if self.transfer is not None else 0
        if moved != record.charged_nanos:
            found.append("The transfer is not of the amount that was charged.")
        return found


def charge_of(account_id: int, request_id: UUID) -> Charge | None:
    """Returns the request's charge; None if the account has no such request."""
    account = CreditAccount.objects.filter(pk=account_id).first()
    if account is None:
        return None
    reservation = Reservation.objects.filter(pk=request_id, account=account).first()
    record = UsageRecord.objects.filter(pk=request_id, account=account).first()
    known = record or reservation
    if known is None:
        return None
    transfers = Transfer.objects.filter(
        kind=Transfer.Kind.USAGE, reference=str(request_id), customer=account
    )
    return Charge(
        request_id=request_id,
        account=account,
        reservation=reservation,
        record=record,
        price=PriceVersion.objects.filter(pk=known.price_version_id).first(),
        transfer=transfers.first(),
        key=ApiKey.objects.filter(pk=known.key_id, team=account.team_id).first(),
        video=VideoJob.objects.filter(pk=request_id, account=account).first(),
    )


def _attempt(number: int, made: dict[str, object]) -> Attempt:
    """Returns an attempt in words; the provider's name and its own words are left out."""
    status = made.get("status")
    milliseconds = made.get("ms")
    text, badge = "No answer", "bad"
    if status == 200:
        text, badge = ("Broke off", "bad") if made.get("error") else ("Answered", "good")
    elif status == 429:
        text, badge = "Too busy (429)", "warn"
    elif isinstance(status, int) and status >= 400:
        text = f"Failed ({status})" if status >= 500 else f"Refused ({status})"
    elif made.get("error") == "the client left":
        text, badge = "You left", ""
    return Attempt(number, text, badge, milliseconds if isinstance(milliseconds, int) else 0)


def _or(price_nanos: int | None, other_nanos: int) -> int:
    return other_nanos if price_nanos is None else price_nanos
