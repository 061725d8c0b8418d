"""Disputes and early warnings of fraud: booked once, keys paused, and left to staff in a queue.

What Stripe withdrew is taken back from the team, what is spent already as a debt. What it gives
back is given back, once. A dispute that is lost stays as it is until staff have looked at it.
"""

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import Dispute, FraudWarning, Order, SubscriptionPayment, Transfer
from billing.payments import pauses, refunds
from billing.payments.shares import Share, part_of_charge
from billing.stripe_api.objects import Dispute as StripeDispute
from billing.stripe_api.objects import FraudWarning as StripeWarning
from billing.usage.lots import left_of

Payment = Order | SubscriptionPayment

INQUIRY_CLOSED = "warning_closed"
CLOSED = ("won", "lost", INQUIRY_CLOSED)
_KEPT_FIELDS = (
    "amount_cents", "tax_cents", "credit_nanos", "owed_nanos", "reason", "status", "is_withdrawn",
    "is_reinstated", "evidence_due_at", "handled_at",
)  # fmt: skip


@dataclass(frozen=True)
class Handled:
    """What staff's word on a dispute or a warning came to."""

    is_resumed: bool
    still_open: list[pauses.Trouble]


def note_dispute(payment: Payment, found: StripeDispute) -> Dispute:
    """Brings our row of a dispute to what Stripe has, and books what follows from it, once."""
    with transaction.atomic():
        payment = _lock(payment)
        dispute, _ = Dispute.objects.get_or_create(
            stripe_id=found.id,
            defaults={**_link(payment), "amount_cents": found.amount_cents, "status": found.status},
        )
        if dispute.status not in CLOSED or found.status in CLOSED:
            dispute.status = found.status
        dispute.reason = found.reason
        dispute.evidence_due_at = found.evidence_due_at
        if found.is_withdrawn and not dispute.is_withdrawn:
            _take_back(payment, dispute, found)
        if found.is_reinstated and not dispute.is_reinstated:
            _give_again(dispute)
        if dispute.status == INQUIRY_CLOSED and not dispute.is_withdrawn:
            dispute.handled_at = dispute.handled_at or timezone.now()
        dispute.save(update_fields=_KEPT_FIELDS)
        if dispute.is_reinstated:
            pauses.resume(dispute.team, dispute.payment)
        _alert_of_a_part(dispute, found)
    return dispute


def note_fraud_warning(payment: Payment, found: StripeWarning) -> FraudWarning:
    """Writes a warning down and pauses the team's keys, the first time that it is told."""
    with transaction.atomic():
        payment = _lock(payment)
        warning, is_new = FraudWarning.objects.get_or_create(
            stripe_id=found.id, defaults={**_link(payment), "fraud_type": found.fraud_type}
        )
        if is_new:
            pauses.pause(warning.team, pauses.SUSPECTED, warning.payment)
    return warning


def handle(trouble: pauses.Trouble, note: str, staff: User, *, resumes: bool) -> Handled:
    """Notes that staff have dealt with a dispute or a warning, and what they say of it.

    With `resumes` the team's keys are accepted again, unless another matter pauses them; without,
    a pause becomes staff's own.
    """
    with transaction.atomic():
        _lock(trouble.source)
        trouble = type(trouble).objects.get(pk=trouble.pk)
        trouble.handled_at = timezone.now()
        trouble.handled_by = staff
        trouble.note = note
        trouble.save(update_fields=["handled_at", "handled_by", "note"])
        team = trouble.team
        action = f"{type(trouble).__name__.lower()}.handled"
        audit.record(audit.Staff(team, staff), action, trouble.payment, detail={"resumes": resumes})
        is_resumed = resumes and pauses.resume(team, trouble.payment, staff)
        if not resumes:
            pauses.keep(team)
        return Handled(is_resumed, pauses.open_troubles(team))


def _take_back(payment: Payment, dispute: Dispute, found: StripeDispute) -> None:
    """Takes the credits of what Stripe withdrew, and pauses the keys."""
    if isinstance(payment, Order) and not found.is_reinstated:
        refunds.give_up_requests(payment)
    dispute.amount_cents = found.amount_cents
    share = _share_of(payment, found.amount_cents)
    dispute.tax_cents, dispute.credit_nanos = share.tax_cents, share.credit_nanos
    dispute.is_withdrawn = True
    if share.credit_nanos > 0:
        posting = postings.claw_back(
            postings.open_account(dispute.team),
            share.credit_nanos,
            reference=dispute.stripe_id,
            credit=_credit_of(payment),
            memo=dispute.payment,
        )
        dispute.owed_nanos = posting.shortfall_nanos
    pauses.pause(dispute.team, pauses.DISPUTED, dispute.payment)


def _give_again(dispute: Dispute) -> None:
    """Gives what was taken for a dispute that was won; nothing is left for staff to do."""
    if dispute.credit_nanos > 0:
        postings.reverse_claw_back(
            postings.open_account(dispute.team), reference=dispute.stripe_id, memo=dispute.payment
        )
    dispute.is_reinstated = True
    dispute.handled_at = dispute.handled_at or timezone.now()


def _share_of(payment: Payment, charged_cents: int) -> Share:
    """Returns what of the payment a dispute takes: of a plan's, what is left of its credits."""
    if isinstance(payment, Order):
        return part_of_charge(payment, charged_cents)
    account = postings.open_account(payment.subscription.team)
    return Share(charged_cents, 0, left_of(account, _credit_of(payment)))


def _alert_of_a_part(dispute: Dispute, found: StripeDispute) -> None:
    """Has staff look at a dispute of which Stripe gave back only a part."""
    if not found.is_reinstated and any(cents > 0 for cents in found.moved_cents):
        detail = f"{dispute}: moved {list(found.moved_cents)} cents"
        raise_alert("dispute_part_reinstated", dispute.stripe_id, detail)


def _lock(payment: Payment) -> Payment:
    """Takes the payment's lock, in whose order everything about it is booked."""
    if isinstance(payment, Order):
        return Order.objects.select_for_update().get(pk=payment.pk)
    return SubscriptionPayment.objects.select_for_update().get(pk=payment.pk)


def _link(payment: Payment) -> dict[str, Payment]:
    return {"order" if isinstance(payment, Order) else "subscription_payment": payment}


def _credit_of(payment: Payment) -> postings.Credit:
    """Return the transfer that gave the payment's credits: a plan's are a gift."""
    if isinstance(payment, Order):
        return postings.Credit(Transfer.Kind.TOP_UP, payment.payment_intent_id or "")
    return postings.Credit(Transfer.Kind.GRANT, f"subscription:{payment.invoice_id}")
