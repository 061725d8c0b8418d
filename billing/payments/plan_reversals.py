"""Reversals of a plan's payment by a dispute or a refund, and what returns if one is undone.

The payment is revenue, and its credits are a grant. So the money moves out of revenue, what is left
of the grant is taken, and what was spent of it is owed, at most what the payment cost. Parts are
proportional, and the part that completes the payment takes the exact remainder.
"""

from dataclasses import dataclass

import structlog
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from billing.failpoints import failpoint
from billing.ledger import postings
from billing.models import Dispute, PlanRefund, SubscriptionPayment, Transfer
from billing.stripe_api.objects import Refund as StripeRefund

log = structlog.get_logger(__name__)

# https://docs.stripe.com/api/refunds/object#refund_object-status
_STATE_OF_STATUS = {
    "succeeded": PlanRefund.State.SUCCEEDED,
    "failed": PlanRefund.State.FAILED,
    "canceled": PlanRefund.State.CANCELED,
}


@dataclass(frozen=True)
class PlanPart:
    """What a part of a plan's payment took back. `owed_nanos` is included in `credit_nanos`."""

    tax_cents: int
    revenue_nanos: int
    credit_nanos: int
    owed_nanos: int


def take_back(
    payment: SubscriptionPayment, charged_cents: int, *, reference: str, memo: str
) -> PlanPart:
    """Move a part of the payment out of revenue, and take its share of the grant back.

    `reference` is the dispute's or the refund's. The caller holds the payment's lock.
    """
    revenue_nanos, tax_cents, credit_nanos = _next_part(payment, charged_cents)
    if revenue_nanos > 0:
        postings.reverse_subscription(revenue_nanos, reference=reference, memo=memo)
    failpoint("in_plan_reversal")
    taken = owed = 0
    if credit_nanos > 0:
        posting = postings.take_back_grant(
            postings.open_account(payment.subscription.team),
            credit_nanos,
            reference=reference,
            grant_reference=f"subscription:{payment.invoice_id}",
            most_owed_nanos=revenue_nanos,
            memo=memo,
        )
        taken, owed = posting.amount_nanos, posting.shortfall_nanos
    return PlanPart(tax_cents, revenue_nanos, taken + owed, owed)


def record_refund(payment: SubscriptionPayment, found: StripeRefund) -> PlanRefund:
    """Update our row of a refund from Stripe, and book each of its effects once."""
    with transaction.atomic():
        payment = SubscriptionPayment.objects.select_for_update().get(pk=payment.pk)
        state = _STATE_OF_STATUS.get(found.status, PlanRefund.State.PENDING)
        refund = PlanRefund.objects.filter(pk=found.id).first() or _book(payment, found)
        if refund.state in PlanRefund.UNSUCCESSFUL_STATES or refund.state == state:
            return refund
        if state == PlanRefund.State.PENDING:
            return refund  # an older answer
        refund.state = state
        refund.ended_at = timezone.now()
        if state in PlanRefund.UNSUCCESSFUL_STATES:
            _return(refund)
            log.warning("plan_refund_failed", refund=refund.pk, error=found.failure)
        refund.save()
    return refund


def collect_refund_debts(team_id: int | None = None) -> int:
    """Collect what teams owe for refunded plans. Return the number of paid debts."""
    owed = PlanRefund.objects.filter(owed_nanos__gt=0, collected_at=None)
    owed = owed.exclude(state__in=PlanRefund.UNSUCCESSFUL_STATES)
    if team_id is not None:
        owed = owed.filter(payment__subscription__team=team_id)
    ids = list(owed.order_by("created_at", "pk").values_list("pk", flat=True))
    return sum(_collect(stripe_id) for stripe_id in ids)


def _collect(stripe_id: str) -> bool:
    with transaction.atomic():
        refund = PlanRefund.objects.select_related("payment__subscription__team").get(pk=stripe_id)
        account = postings.open_account(refund.payment.subscription.team)
        memo = f"Invoice {refund.payment_id}"
        try:
            postings.collect(account, reference=stripe_id, memo=memo)
        except (postings.InsufficientCreditsError, postings.UnknownReferenceError):
            return False
        PlanRefund.objects.filter(pk=stripe_id).update(collected_at=timezone.now())
    return True


def _book(payment: SubscriptionPayment, found: StripeRefund) -> PlanRefund:
    memo = f"Invoice {payment.invoice_id}"
    part = take_back(payment, found.amount_cents, reference=found.id, memo=memo)
    return PlanRefund.objects.create(
        stripe_id=found.id,
        payment=payment,
        amount_cents=found.amount_cents,
        revenue_nanos=part.revenue_nanos,
        credit_nanos=part.credit_nanos,
        owed_nanos=part.owed_nanos,
        state=PlanRefund.State.PENDING,
    )


def _return(refund: PlanRefund) -> None:
    """Return what a failed or canceled refund took."""
    memo = f"Invoice {refund.payment_id}"
    if refund.revenue_nanos > 0:
        postings.reinstate_subscription(refund.revenue_nanos, reference=refund.pk, memo=memo)
    if refund.credit_nanos > 0:
        account = postings.open_account(refund.payment.subscription.team)
        postings.reverse_claw_back(account, reference=refund.pk, memo=memo)


def _next_part(payment: SubscriptionPayment, charged_cents: int) -> tuple[int, int, int]:
    """Return the revenue, the tax (cents) and the grant that the next part of a payment takes.

    Its share depends on its position among all parts so far, including those that were undone, so
    it is the same whether or not an earlier part's return is known yet.
    """
    revenue_nanos = _booked_revenue_nanos(payment)
    refunds = payment.refunds.all()
    disputes = list(payment.disputes.filter(is_withdrawn=True))
    start = int(refunds.aggregate(cents=Sum("amount_cents", default=0))["cents"])
    start += sum(dispute.amount_cents for dispute in disputes)
    end, whole = start + charged_cents, payment.amount_cents
    lasting = refunds.exclude(state__in=PlanRefund.UNSUCCESSFUL_STATES).aggregate(
        cents=Sum("amount_cents", default=0), revenue=Sum("revenue_nanos", default=0)
    )
    cents_left = whole - lasting["cents"] - sum(each.withdrawn_cents for each in disputes)
    revenue_left = revenue_nanos - lasting["revenue"] - sum(map(_lasting_revenue, disputes))
    revenue_part = revenue_nanos * end // whole - revenue_nanos * start // whole
    if charged_cents >= cents_left or revenue_part > revenue_left:
        revenue_part = max(0, revenue_left)
    tax_cents = payment.tax_cents or 0
    tax_part = tax_cents * end // whole - tax_cents * start // whole
    # Of the grant, what is left bounds what is taken, and what was spent bounds what is owed.
    credit_part = payment.credit_nanos * end // whole - payment.credit_nanos * start // whole
    return revenue_part, tax_part, credit_part


def _lasting_revenue(dispute: Dispute) -> int:
    return dispute.revenue_nanos - dispute.share(dispute.revenue_nanos)


def _booked_revenue_nanos(payment: SubscriptionPayment) -> int:
    """Return what was booked as revenue for the payment: the charge without its tax."""
    booked = Transfer.objects.filter(
        kind=Transfer.Kind.SUBSCRIPTION, reference=payment.invoice_id
    ).aggregate(nanos=Sum("amount_nanos", default=0))
    return int(booked["nanos"])
