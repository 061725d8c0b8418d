"""Contract prices set by staff: review, request, confirmation by a second person, end.

A contract has no amount, so STAFF_APPROVAL_DOLLARS is compared with what it would have changed in
the team's last 30 days. One that sells below an upstream's cost always waits for a second person,
whatever its size: nothing bounds its loss. Prices apply from the next request on, never to earlier
ones, and a request keeps the price it was admitted at.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Q, Sum
from django.utils import timezone

from accounts.audit import Staff
from accounts.models import Team, User
from accounts.staff_actions import log_action
from accounts.staff_invitations import SECOND_PERSON_MISSING, is_second_person
from api.catalogue.price_review import REPRICED_DAYS, losses_at, price_at, suppliers_of
from api.models import Model
from billing.failpoints import failpoint
from billing.models import ContractPrice, PriceVersion, Product, RatesRow, UsageHour
from billing.payments.manual_postings import needs_approval
from billing.pricing.charge import ONE
from billing.pricing.components import COMPONENTS
from billing.usage.repricing import repriced_account


class ContractError(Exception):
    """A contract price that can't be set; the message is for staff, `field` is the form's field."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class ContractTerms:
    """What staff ask for. `form_id` is the form's own; `starts_at` None means at once.

    Without `product` the factor is for all models. `rates` has the agreed rates in nano-dollars by
    component; empty for a factor.
    """

    form_id: UUID
    product: Product | None
    factor_millionths: int
    rates: dict[str, int]
    starts_at: datetime | None
    ends_at: datetime | None
    reason: str


@dataclass(frozen=True)
class Review:
    """What a contract changes: in 30 days of usage, and at which upstreams it sells below cost.

    Amounts are nano-dollars. `losses` are sentences.
    """

    charged_nanos: int
    would_nanos: int
    losses: list[str]

    @property
    def needs_approval(self) -> bool:
        """Whether a second person has to confirm the contract."""
        return bool(self.losses) or needs_approval(self.would_nanos - self.charged_nanos)


def contract_of(team: Team, terms: ContractTerms) -> ContractPrice:
    """Return the unsaved row for the terms. Raise ContractError for terms that can't be."""
    now = timezone.now()
    starts_at = max(terms.starts_at or now, now)
    if terms.ends_at is not None and terms.ends_at <= starts_at:
        raise ContractError("The end must be after the start, and in the future.", "ends_at")
    contract = ContractPrice(
        form_id=terms.form_id,
        team=team,
        product=terms.product,
        effective_from=starts_at,
        ends_at=terms.ends_at,
        factor_millionths=terms.factor_millionths,
        reason=terms.reason.strip()[:300],
    )
    if not contract.reason:
        raise ContractError("Enter a reason. It is kept with the contract.", "reason")
    if terms.rates:
        if terms.product is None:
            raise ContractError("Own rates are for one model. Choose it.", "model")
        _set_rates(contract, _listed(terms.product), terms.rates)
    elif terms.factor_millionths == ONE:
        raise ContractError("Enter a factor other than 1, or own rates.", "factor")
    try:
        contract.clean()
    except ValidationError as error:
        raise ContractError(" ".join(error.messages), "factor") from None
    return contract


def review_of(contract: ContractPrice) -> Review:
    """Return what the contract would change."""
    now = timezone.now()
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=REPRICED_DAYS)
    hours = UsageHour.objects.filter(account__team=contract.team, hour__gte=since)
    if contract.product is not None:
        hours = hours.filter(model__in=_names_of(contract.product))
    charged = int(hours.aggregate(sum=Sum("charged_nanos"))["sum"] or 0)
    if contract.has_own_rates:
        would = sum(
            repriced_account(contract.team, name, contract.rates, since)
            for name in _names_of(contract.product)
        )
    else:
        would = charged * contract.factor_millionths // ONE
    return Review(charged, would, list(_losses(contract, now)))


def request(staff: Staff, terms: ContractTerms) -> ContractPrice:
    """Set a contract price, or keep it for a second person to confirm.

    A repeat of the same form changes nothing and returns its contract. Raise ContractError.
    """
    with transaction.atomic():
        Team.objects.select_for_update(no_key=True).get(pk=staff.team.pk)
        known = ContractPrice.objects.filter(form_id=terms.form_id).first()
        if known is not None:
            if known.team_id != staff.team.pk:
                raise ContractError("This form was sent for another team. Open it again.")
            return known
        contract = contract_of(staff.team, terms)
        contract.requested_by = staff.user
        _require_no_overlap(contract)
        waits = review_of(contract).needs_approval
        if not waits:
            _decide(contract, ContractPrice.State.APPROVED, staff.user)
        contract.save()
        failpoint("after_contract")
        action = "contract_price.requested" if waits else "contract_price.set"
        log_action(staff, action, contract, contract.reason, detail=detail_of(contract))
    return contract


def approve(contract: ContractPrice, user: User) -> ContractPrice:
    """Confirm a pending contract, which applies from now on or its later start. Repeats do nothing.

    Raise ContractError if the user requested it, or if it can't begin any more.
    """
    if not is_second_person(user, contract.requested_by_id):
        raise ContractError(SECOND_PERSON_MISSING)
    with transaction.atomic():
        contract = _locked(contract)
        if contract.state == ContractPrice.State.APPROVED:
            return contract
        _require_pending(contract)
        now = timezone.now()
        contract.effective_from = max(contract.effective_from, now)
        if contract.ends_at is not None and contract.ends_at <= contract.effective_from:
            raise ContractError("The contract's end has passed. Reject it.")
        _require_no_overlap(contract)
        _decide(contract, ContractPrice.State.APPROVED, user)
        contract.save(update_fields=["effective_from", "state", "decided_by", "decided_at"])
        log_action(
            Staff(contract.team, user),
            "contract_price.set",
            contract,
            contract.reason,
            detail=detail_of(contract),
        )
    return contract


def reject(contract: ContractPrice, user: User, reason: str) -> ContractPrice:
    """Reject a pending contract. Raise ContractError if it was decided otherwise."""
    with transaction.atomic():
        contract = _locked(contract)
        if contract.state != ContractPrice.State.REJECTED:
            _require_pending(contract)
            _decide(contract, ContractPrice.State.REJECTED, user)
            contract.save(update_fields=["state", "decided_by", "decided_at"])
            staff = Staff(contract.team, user)
            log_action(staff, "contract_price.rejected", contract, reason)
    return contract


def end(staff: Staff, contract: ContractPrice, reason: str) -> ContractPrice:
    """End a contract now; one that has not begun is canceled. A repeat changes nothing."""
    with transaction.atomic():
        contract = _locked(contract)
        now = timezone.now()
        if contract.applies_at(now):
            contract.ends_at = now
        elif contract.phase in {"upcoming", "pending"}:
            _decide(contract, ContractPrice.State.CANCELED, staff.user)
        else:
            return contract
        contract.save(update_fields=["ends_at", "state", "decided_by", "decided_at"])
        log_action(staff, "contract_price.ended", contract, reason, detail=detail_of(contract))
    return contract


def open_contracts(team: Team) -> Iterable[ContractPrice]:
    """Return the team's contracts that apply, will apply, or wait, those of all models first."""
    rows = ContractPrice.objects.filter(team=team, state__in=_OPEN).select_related("product")
    lasting = rows.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=timezone.now()))
    return lasting.order_by(F("product__sku").asc(nulls_first=True), "effective_from")


def detail_of(contract: ContractPrice) -> dict[str, object]:
    """Return the contract's terms for the audit log."""
    ends_at = contract.ends_at
    return {
        "for": contract.covers,
        "terms": contract.terms,
        "from": contract.effective_from.isoformat(timespec="minutes"),
        "until": ends_at.isoformat(timespec="minutes") if ends_at else "",
    }


_OPEN = (ContractPrice.State.PENDING, ContractPrice.State.APPROVED)


def _listed(product: Product) -> PriceVersion:
    listed = price_at(product, timezone.now())
    if listed is None:
        raise ContractError("This model has no price. Publish one first.", "model")
    return listed


def _set_rates(contract: ContractPrice, listed: RatesRow, rates: dict[str, int]) -> None:
    """Give the contract the list price's rates, with `rates` in place of some of them."""
    if listed.factor_millionths != ONE:
        raise ContractError(
            "This model's list price has a factor. Agree on a factor instead of rates.", "model"
        )
    contract.has_own_rates = True
    contract.factor_millionths = ONE
    contract.context_tiers = listed.context_tiers
    contract.service_tiers = listed.service_tiers
    contract.extra_rates = dict(listed.extra_rates)
    for name, component in COMPONENTS.items():
        if component.field:
            nanos = rates.get(name, getattr(listed, component.rate_column))
            setattr(contract, component.rate_column, nanos)
        elif name in rates:
            contract.extra_rates[name] = rates[name]


def _losses(contract: ContractPrice, now: datetime) -> Iterable[str]:
    models = Model.objects.filter(is_enabled=True).select_related("product")
    if contract.product_id:
        models = models.filter(product=contract.product_id)
    for model in models:
        listed = price_at(model.product, now)
        if listed is not None:
            rates = contract.applied_to(listed.rates)
            for text in losses_at(rates, suppliers_of(model.product, now)):
                yield text if contract.product_id else f"{model.name}: {text}"


def _names_of(product: Product | None) -> list[str]:
    return list(Model.objects.filter(product=product).values_list("name", flat=True))


def _require_no_overlap(contract: ContractPrice) -> None:
    """Raise ContractError if the team has another contract for the same at the same time."""
    others = ContractPrice.objects.filter(
        Q(ends_at__isnull=True) | Q(ends_at__gt=contract.effective_from),
        team=contract.team,
        product=contract.product,
        state__in=_OPEN,
    ).exclude(pk=contract.pk)
    if contract.ends_at is not None:
        others = others.filter(effective_from__lt=contract.ends_at)
    other = others.order_by("effective_from").first()
    if other is not None:
        raise ContractError(
            f"There is already a contract price for {other.covers} ({other.phase}: {other.terms}). "
            "End it first, or choose a period that doesn't overlap.",
            "model",
        )


def _require_pending(contract: ContractPrice) -> None:
    if contract.state != ContractPrice.State.PENDING:
        raise ContractError(f"This contract price is already {contract.state}.")


def _decide(contract: ContractPrice, state: ContractPrice.State, user: User) -> None:
    contract.state, contract.decided_by, contract.decided_at = state, user, timezone.now()


def _locked(contract: ContractPrice) -> ContractPrice:
    """Return the row, locked after its team's, as every change of contracts is."""
    Team.objects.select_for_update(no_key=True).get(pk=contract.team_id)
    rows = ContractPrice.objects.select_related("team", "product")
    return rows.select_for_update(of=("self",)).get(pk=contract.pk)
