"""Disputes and early fraud warnings: booked once, keys paused, and queued for staff.

What Stripe withdraws is clawed back from the team; what is spent already becomes a debt, collected
from later credits. What Stripe reinstates is returned, once. A lost dispute stays open until staff
have handled it.

A pause suspends the team's API keys under a reason of ours; its pages stay open. A suspension by
staff has another reason, and is never lifted here.
"""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.access import Actor
from accounts.models import Team, User
from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import Dispute, FraudWarning, Order, SubscriptionPayment, Transfer
from billing.payments import refunds
from billing.payments.refundable_part import OrderPart, part_of_charge
from billing.stripe_api.objects import Dispute as StripeDispute
from billing.stripe_api.objects import FraudWarning as StripeFraudWarning
from billing.usage.lots import left_of

Payment = Order | SubscriptionPayment
Case = Dispute | FraudWarning

# https://docs.stripe.com/api/disputes/object#dispute_object-status
INQUIRY_CLOSED = "warning_closed"
CLOSED_STATUSES = ("won", "lost", INQUIRY_CLOSED)

# Stored as the team's `suspended_reason`, and recognised by it.
PAUSED_FOR_DISPUTE = "Paused: a payment is disputed"
PAUSED_FOR_FRAUD_WARNING = "Paused: a payment may be fraud"
KEPT_PAUSED = "Kept paused by staff after a payment was in doubt"
PAUSE_REASONS = (PAUSED_FOR_DISPUTE, PAUSED_FOR_FRAUD_WARNING)

_SYNCED_FIELDS = (
    "amount_cents", "tax_cents", "credit_nanos", "owed_nanos", "reason", "status", "is_withdrawn",
    "is_reinstated", "evidence_due_at", "handled_at",
)  # fmt: skip


@dataclass(frozen=True)
class HandlingResult:
    """The effect of marking a case as handled. `open_cases` still pause the team's keys."""

    is_resumed: bool
    open_cases: list[Case]


def record_dispute(payment: Payment, found: StripeDispute) -> Dispute:
    """Update our row of a dispute from Stripe, and book each of its effects once."""
    with transaction.atomic():
        payment = _lock(payment)
        dispute, _ = Dispute.objects.get_or_create(
            stripe_id=found.id,
            defaults={**_link(payment), "amount_cents": found.amount_cents, "status": found.status},
        )
        if dispute.status not in CLOSED_STATUSES or found.status in CLOSED_STATUSES:
            dispute.status = found.status
        dispute.reason = found.reason
        dispute.evidence_due_at = found.evidence_due_at
        if found.is_withdrawn and not dispute.is_withdrawn:
            _book_withdrawal(payment, dispute, found)
        if found.is_reinstated and not dispute.is_reinstated:
            _book_reinstatement(dispute)
        if dispute.status == INQUIRY_CLOSED and not dispute.is_withdrawn:
            dispute.handled_at = dispute.handled_at or timezone.now()
        dispute.save(update_fields=_SYNCED_FIELDS)
        if dispute.is_reinstated:
            _resume_keys(dispute.team, dispute.payment)
        _alert_if_partly_reinstated(dispute, found)
    return dispute


def record_fraud_warning(payment: Payment, found: StripeFraudWarning) -> FraudWarning:
    """Record a warning, and pause the team's keys the first time it is seen."""
    with transaction.atomic():
        payment = _lock(payment)
        warning, is_new = FraudWarning.objects.get_or_create(
            stripe_id=found.id, defaults={**_link(payment), "fraud_type": found.fraud_type}
        )
        if is_new:
            _pause_keys(warning.team, PAUSED_FOR_FRAUD_WARNING, warning.payment)
    return warning


def handle(case: Case, note: str, staff: User, *, resumes_keys: bool) -> HandlingResult:
    """Mark a dispute or a warning as handled by staff, with their note.

    With `resumes_keys` the team's keys are accepted again unless another case pauses them; without,
    a pause becomes a suspension by staff.
    """
    with transaction.atomic():
        _lock(case.source)
        case = type(case).objects.get(pk=case.pk)
        case.handled_at = timezone.now()
        case.handled_by = staff
        case.note = note
        case.save(update_fields=["handled_at", "handled_by", "note"])
        team = case.team
        action = f"{type(case).__name__.lower()}.handled"
        detail = {"resumes": resumes_keys}
        audit.record(audit.Staff(team, staff), action, case.payment, detail=detail)
        is_resumed = resumes_keys and _resume_keys(team, case.payment, staff)
        if not resumes_keys:
            Team.objects.filter(pk=team.pk, suspended_reason__in=PAUSE_REASONS).update(
                suspended_reason=KEPT_PAUSED
            )
        return HandlingResult(is_resumed, open_cases(team))


def open_cases(team: Team) -> list[Case]:
    """Return the team's disputes with withdrawn funds and its warnings that are not handled."""
    disputes = Dispute.objects.filter(_is_of(team), is_withdrawn=True, handled_at=None)
    return [*disputes, *FraudWarning.objects.filter(_is_of(team), handled_at=None)]


def collect_debts(team: Team | None = None) -> int:
    """Collect what a team, or every team, owes for disputes. Return the number of paid debts.

    A debt is collected whole: one that exceeds the team's available balance waits.
    """
    owed = Dispute.objects.filter(owed_nanos__gt=0, collected_at=None, is_reinstated=False)
    if team is not None:
        owed = owed.filter(_is_of(team))
    ids = list(owed.order_by("created_at", "pk").values_list("pk", flat=True))
    return sum(_collect_debt(stripe_id) for stripe_id in ids)


def _collect_debt(stripe_id: str) -> bool:
    with transaction.atomic():
        dispute = Dispute.objects.select_related("order__team").get(pk=stripe_id)
        account = postings.open_account(dispute.team)
        try:
            postings.collect(account, reference=stripe_id, memo=dispute.payment)
        except (postings.InsufficientCreditsError, postings.UnknownReferenceError):
            return False  # not enough available, or reinstated meanwhile
        # No other column: `record_dispute` writes those under another lock.
        Dispute.objects.filter(pk=stripe_id).update(collected_at=timezone.now())
    return True


def _book_withdrawal(payment: Payment, dispute: Dispute, found: StripeDispute) -> None:
    """Claw back the credits of the withdrawn funds, and pause the keys."""
    if isinstance(payment, Order) and not found.is_reinstated:
        refunds.fail_requested(payment)
    dispute.amount_cents = found.amount_cents
    part = _disputed_part(payment, found.amount_cents)
    dispute.tax_cents, dispute.credit_nanos = part.tax_cents, part.credit_nanos
    dispute.is_withdrawn = True
    if part.credit_nanos > 0:
        posting = postings.claw_back(
            postings.open_account(dispute.team),
            part.credit_nanos,
            reference=dispute.stripe_id,
            credit=_credit_of(payment),
            memo=dispute.payment,
        )
        dispute.owed_nanos = posting.shortfall_nanos
    _pause_keys(dispute.team, PAUSED_FOR_DISPUTE, dispute.payment)


def _book_reinstatement(dispute: Dispute) -> None:
    """Return the credits of a dispute that was won, which leaves nothing for staff to do."""
    if dispute.credit_nanos > 0:
        postings.reverse_claw_back(
            postings.open_account(dispute.team), reference=dispute.stripe_id, memo=dispute.payment
        )
    dispute.is_reinstated = True
    dispute.handled_at = dispute.handled_at or timezone.now()


def _disputed_part(payment: Payment, charged_cents: int) -> OrderPart:
    """Return the part that a dispute takes: of a plan's payment, the credits that are left."""
    if isinstance(payment, Order):
        return part_of_charge(payment, charged_cents)
    account = postings.open_account(payment.subscription.team)
    return OrderPart(charged_cents, 0, left_of(account, _credit_of(payment)))


def _alert_if_partly_reinstated(dispute: Dispute, found: StripeDispute) -> None:
    """Raise an alert for a dispute whose funds were reinstated only in part."""
    if not found.is_reinstated and any(cents > 0 for cents in found.moved_cents):
        detail = f"{dispute}: balance transactions of {list(found.moved_cents)} cents"
        raise_alert("dispute_part_reinstated", dispute.stripe_id, detail)


def _pause_keys(team: Team, reason: str, subject: str) -> None:
    """Suspend the team's keys unless they are suspended already. Call it in a transaction."""
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if team.suspended_at is None:
        Team.objects.filter(pk=team.pk).update(suspended_at=timezone.now(), suspended_reason=reason)
        audit.record(Actor(team=team), "team.paused", subject, detail={"reason": reason})


def _resume_keys(team: Team, subject: str, staff: User | None = None) -> bool:
    """Accept the team's keys again unless another case pauses them. Call it in a transaction.

    Return False where they stay suspended, also by a suspension of staff's.
    """
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if team.suspended_reason not in PAUSE_REASONS or open_cases(team):
        return False
    Team.objects.filter(pk=team.pk).update(suspended_at=None, suspended_reason="")
    actor = audit.Staff(team, staff) if staff is not None else Actor(team=team)
    audit.record(actor, "team.resumed", subject)
    return True


def _lock(payment: Payment) -> Payment:
    """Lock the payment's row, under which everything about it is booked."""
    if isinstance(payment, Order):
        return Order.objects.select_for_update().get(pk=payment.pk)
    return SubscriptionPayment.objects.select_for_update().get(pk=payment.pk)


def _link(payment: Payment) -> dict[str, Payment]:
    return {"order" if isinstance(payment, Order) else "subscription_payment": payment}


def _is_of(team: Team) -> Q:
    return Q(order__team=team) | Q(subscription_payment__subscription__team=team)


def _credit_of(payment: Payment) -> postings.Credit:
    """Return the transfer that gave the payment's credits: a plan's are a grant."""
    if isinstance(payment, Order):
        return postings.Credit(Transfer.Kind.TOP_UP, payment.payment_intent_id or "")
    return postings.Credit(Transfer.Kind.GRANT, f"subscription:{payment.invoice_id}")
