"""Refunds: asked for by staff or made in Stripe's dashboard, and booked once either way.

The row and the ledger's debit are written before Stripe hears of a refund: credits that go back
can't be spent meanwhile. If Stripe refuses, or the refund fails later, they are given again.
"""

import uuid
from datetime import timedelta
from functools import partial

import structlog
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from billing.failpoints import failpoint
from billing.ledger import postings
from billing.ledger.alerts import raise_alert
from billing.models import CreditAccount, Order, Refund, Transfer
from billing.payments.shares import Share, left_of, part_of_amount, part_of_charge
from billing.pricing.money import cents_text
from billing.stripe_api import payments
from billing.stripe_api.client import FailureKeptError, StripeError, StripeRefusedError
from billing.stripe_api.objects import Refund as StripeRefund
from billing.usage.lots import refundable_nanos

log = structlog.get_logger(__name__)

# Long enough for the call that follows the request; after it another process asks again.
FIRST_REPEAT = timedelta(minutes=1)
MADE_AT_STRIPE = "Made at Stripe, not here."

# A state is only ever followed by a higher one, in whatever order the news comes.
_RANK = {
    Refund.State.REQUESTED: 0,
    Refund.State.PENDING: 1,
    Refund.State.SUCCEEDED: 2,
    Refund.State.FAILED: 3,
    Refund.State.CANCELED: 3,
}
_STATES = {
    "pending": Refund.State.PENDING,
    "requires_action": Refund.State.PENDING,
    "succeeded": Refund.State.SUCCEEDED,
    "failed": Refund.State.FAILED,
    "canceled": Refund.State.CANCELED,
}


class RefundError(Exception):
    """A refund that can't be made; the message is for staff, `field` names what to change."""

    def __init__(self, message: str, field: str = "amount") -> None:
        super().__init__(message)
        self.field = field


def request_refund(
    order: Order,
    amount_cents: int,
    *,
    reason: str,
    is_forced: bool,
    staff: User,
    refund_id: uuid.UUID | None = None,
) -> Refund:
    """Books a refund of `amount_cents` before tax, asks Stripe for it, and returns it as it is.

    The tax goes back in proportion. A forced one may be of credits that are spent: what is missing
    is the operator's. `refund_id` makes a form that is sent twice one refund. If Stripe does not
    answer, the refund stays `requested` and is asked for again. Raises RefundError.
    """
    wanted = Refund(
        id=refund_id or uuid.uuid4(),
        order=order,
        amount_cents=amount_cents,
        reason=reason.strip()[:300],
        is_forced=is_forced,
        requested_by=staff,
    )
    refund = _book(wanted, staff)
    failpoint("after_refund_booked")
    return submit(refund)


def submit(refund: Refund, *, is_repeat: bool = False) -> Refund:
    """Asks Stripe for a refund that is requested, and returns it as it is then.

    The row's id is the idempotency key, which Stripe forgets after a day: a repeat looks among the
    payment's refunds first.
    """
    if refund.state != Refund.State.REQUESTED:
        return refund
    try:
        found = _find_at_stripe(refund) if is_repeat else None
        found = found or _ask(refund)
    except StripeRefusedError as error:
        return _refuse(refund, str(error))
    except StripeError as error:
        log.warning("refund_waits", refund=str(refund.pk), error=str(error))
        return refund
    failpoint("after_refund_submitted")
    return note_refund(refund.order, found) or refund


def note_refund(order: Order, found: StripeRefund) -> Refund | None:
    """Brings our row of a refund to what Stripe has, and books what follows from it, once.

    One that we did not ask for takes its credits now, forced: the money has left. None (after an
    alert): there is nothing left of the order that it could take.
    """
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=order.pk)
        refund = _row_of(order, found) or _book_foreign(order, found)
        if refund is None:
            return None
        state = _STATES.get(found.status, Refund.State.PENDING)
        refund.stripe_id = found.id
        if _RANK[state] > _RANK[Refund.State(refund.state)]:
            _end(refund, state, found.failure)
        refund.save()
    return refund


def give_up_requests(order: Order) -> None:
    """Fails what Stripe does not know of yet: it refunds nothing of a payment that it took back.

    The caller holds the order's lock, and asked Stripe for its refunds after the dispute was made.
    """
    for refund in order.refunds.filter(state=Refund.State.REQUESTED, stripe_id=None):
        _end(refund, Refund.State.FAILED, "The payment was disputed first.")
        refund.save()


def requested_refunds() -> list[Refund]:
    """Returns the refunds that Stripe has not answered for."""
    found = Refund.objects.filter(
        state=Refund.State.REQUESTED, created_at__lt=timezone.now() - FIRST_REPEAT
    )
    return list(found.select_related("order").order_by("created_at"))


def unspent_cents(order: Order) -> int:
    """Returns what of an order can be refunded without force, in cents before tax."""
    account = CreditAccount.objects.filter(team=order.team).first()
    left = left_of(order)
    if account is None or not left.credit_nanos:
        return 0
    unspent_nanos = min(refundable_nanos(account), left.credit_nanos)
    return left.amount_cents * unspent_nanos // left.credit_nanos


def _book(refund: Refund, staff: User) -> Refund:
    """Writes a request down and takes its credits, or finds the one that was made before."""
    account = postings.open_account(refund.order.team)
    with transaction.atomic():
        order = Order.objects.select_for_update().get(pk=refund.order_id)
        earlier = Refund.objects.filter(pk=refund.pk).first()
        if earlier is not None:
            return _same(earlier, refund)
        _fill(refund, _part(order, refund))
        unspent = cents_text(unspent_cents(order))
        refund.save(force_insert=True)
        try:
            _debit(account, refund)
        except postings.InsufficientCreditsError:
            raise RefundError(
                f"Of this order {unspent} is unspent. Refund that much at most, or force the "
                "refund: what is spent is then given away."
            ) from None
        detail = {
            "amount_cents": refund.amount_cents,
            "reason": refund.reason,
            "is_forced": refund.is_forced,
        }
        actor = audit.Staff(order.team, staff)
        audit.record(actor, "refund.requested", f"Order {order.number}", detail=detail)
    return refund


def _part(order: Order, refund: Refund) -> Share:
    """Returns what a request takes of the order. Raises RefundError."""
    if order.state != Order.State.PAID:
        raise RefundError("This order is not paid: there is nothing to give back.")
    if not refund.reason:
        raise RefundError("Say why: the reason is kept with the refund.", "reason")
    if order.disputes.filter(is_withdrawn=True, is_reinstated=False).exists():
        raise RefundError("This payment is disputed: Stripe has taken the money back already.")
    left = left_of(order)
    if not 0 < refund.amount_cents <= left.amount_cents:
        raise RefundError(
            f"Give an amount up to {cents_text(left.amount_cents)}: so much of this order has not "
            "been refunded yet."
        )
    return part_of_amount(left, refund.amount_cents)


def _same(earlier: Refund, refund: Refund) -> Refund:
    if (earlier.order_id, earlier.amount_cents) != (refund.order_id, refund.amount_cents):
        raise RefundError("This form was sent before with another amount. Load the page again.")
    return earlier


def _book_foreign(order: Order, found: StripeRefund) -> Refund | None:
    """Books a refund that was made in Stripe's dashboard."""
    share = part_of_charge(order, found.amount_cents)
    if share.credit_nanos == 0:
        detail = f"{found.id} of Order {order.number}, of which nothing is left"
        raise_alert("refund_of_nothing", found.id, detail)
        return None
    refund = Refund(order=order, reason=MADE_AT_STRIPE, is_forced=True)
    _fill(refund, share)
    refund.save(force_insert=True)
    _debit(postings.open_account(order.team), refund)
    return refund


def _fill(refund: Refund, share: Share) -> None:
    refund.amount_cents = share.amount_cents
    refund.tax_cents = share.tax_cents
    refund.credit_nanos = share.credit_nanos


def _debit(account: CreditAccount, refund: Refund) -> None:
    postings.refund(
        account,
        refund.credit_nanos,
        reference=str(refund.pk),
        credit=postings.Credit(Transfer.Kind.TOP_UP, refund.order.payment_intent_id or ""),
        is_forced=refund.is_forced,
        memo=f"Order {refund.order.number}",
    )


def _row_of(order: Order, found: StripeRefund) -> Refund | None:
    """Returns our row of a refund, by its id at Stripe or by ours, which its metadata names."""
    known = order.refunds.filter(stripe_id=found.id).first()
    if known is not None:
        return known
    for refund in order.refunds.filter(stripe_id=None):
        cents = refund.amount_cents + refund.tax_cents
        if (str(refund.pk), cents) == (found.request, found.amount_cents):
            return refund
    return None


def _ask(refund: Refund) -> StripeRefund:
    """Asks Stripe for a refund, or finds the one that was made though Stripe said it failed."""
    create = partial(
        payments.create_refund,
        request=str(refund.pk),
        payment_intent_id=refund.order.payment_intent_id or "",
        amount_cents=refund.amount_cents + refund.tax_cents,
    )
    try:
        return create()
    except FailureKeptError:
        return _find_at_stripe(refund) or create(again=True)


def _find_at_stripe(refund: Refund) -> StripeRefund | None:
    listed = payments.refunds_of(refund.order.payment_intent_id or "")
    return next((each for each in listed if each.request == str(refund.pk)), None)


def _refuse(refund: Refund, why: str) -> Refund:
    """Ends a refund that Stripe does not make."""
    with transaction.atomic():
        Order.objects.select_for_update().get(pk=refund.order_id)
        refund = Refund.objects.select_related("order__team").get(pk=refund.pk)
        if refund.state == Refund.State.REQUESTED and refund.stripe_id is None:
            _end(refund, Refund.State.FAILED, why)
            refund.save()
    return refund


def _end(refund: Refund, state: Refund.State, error: str) -> None:
    """Takes a refund on to a state; one that failed gives its credits again."""
    refund.state = state
    if state == Refund.State.PENDING:
        return
    refund.ended_at = timezone.now()
    if _RANK[state] == _RANK[Refund.State.FAILED]:
        refund.error = error[:300]
        order = refund.order
        account = postings.open_account(order.team)
        postings.reverse_refund(account, reference=str(refund.pk), memo=f"Order {order.number}")
        log.warning("refund_failed", refund=str(refund.pk), error=error)
