"""Disputes and early fraud warnings: booked once, keys paused, and queued for staff.

What Stripe withdraws is clawed back from the team; what is already spent becomes a debt, collected
from later credits. What Stripe reinstates is returned, each part once. A dispute that was lost, or
won in part, stays open until staff have handled it.

A pause suspends the team's API keys for one of PAUSE_REASONS; its pages stay open. A suspension by
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
from billing.payments import plan_reversals, refunds
from billing.payments.refundable_part import part_of_charge
from billing.pricing.money import cents_text, dollars_short_text
from billing.stripe_api.objects import Dispute as StripeDispute
from billing.stripe_api.objects import FraudWarning as StripeFraudWarning

Payment = Order | SubscriptionPayment
Case = Dispute | FraudWarning

# https://docs.stripe.com/api/disputes/object#dispute_object-status
INQUIRY_CLOSED = "warning_closed"
CLOSED_STATUSES = ("won", "lost", INQUIRY_CLOSED)

# Stored as the team's `suspended_reason`, by which a pause is recognised.
PAUSED_FOR_DISPUTE = "Paused: a payment is disputed"
PAUSED_FOR_FRAUD_WARNING = "Paused: a payment may be fraud"
KEPT_PAUSED = "Kept paused by staff after a payment was in doubt"
PAUSE_REASONS = (PAUSED_FOR_DISPUTE, PAUSED_FOR_FRAUD_WARNING)

_SYNCED_FIELDS = (
    "amount_cents", "tax_cents", "credit_nanos", "owed_nanos", "revenue_nanos", "reason", "status",
    "is_withdrawn", "is_reinstated", "reinstated_cents", "corrected_nanos", "evidence_due_at",
    "handled_at",
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
        if dispute.is_withdrawn and found.reinstated_cents > dispute.reinstated_cents:
            _book_reinstatement(dispute, found)
        if dispute.status == INQUIRY_CLOSED and not dispute.is_withdrawn:
            dispute.handled_at = dispute.handled_at or timezone.now()
        dispute.save(update_fields=_SYNCED_FIELDS)
        if dispute.is_reinstated:
            _resume_keys(dispute.team, dispute.payment)
        _alert_if_partly_reinstated(dispute)
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


def correct(dispute: Dispute, amount_nanos: int, note: str, staff: User) -> None:
    """Give the team credits for a dispute ahead of what Stripe reinstates of it.

    They are taken back from what Stripe reinstates later. Raise ValueError for more than
    `correctable_nanos`.
    """
    with transaction.atomic():
        _lock(dispute.source)
        dispute = Dispute.objects.get(pk=dispute.pk)
        if not 0 < amount_nanos <= correctable_nanos(dispute):
            raise ValueError("The dispute took less than that.")
        total = dispute.corrected_nanos + amount_nanos
        postings.adjust(
            postings.open_account(dispute.team),
            amount_nanos,
            reference=f"dispute:{dispute.stripe_id}:{dispute.reinstated_cents}+{total}",
            memo=f"{dispute.payment}: {note}"[:300],
        )
        Dispute.objects.filter(pk=dispute.pk).update(corrected_nanos=total)
        detail = {"amount": f"${dollars_short_text(amount_nanos)}", "note": note[:200]}
        actor = audit.Staff(dispute.team, staff)
        audit.record(actor, "dispute.corrected", dispute.payment, detail=detail)


def correctable_nanos(dispute: Dispute) -> int:
    """Return what the dispute took and neither Stripe nor staff have returned."""
    returned = dispute.share(dispute.credit_nanos)
    return max(0, dispute.credit_nanos - returned - dispute.corrected_nanos)


def open_cases(team: Team) -> list[Case]:
    """Return the team's disputes with withdrawn funds and its warnings that are not handled."""
    disputes = Dispute.objects.filter(_is_of(team), is_withdrawn=True, handled_at=None)
    return [*disputes, *FraudWarning.objects.filter(_is_of(team), handled_at=None)]


def collect_debts(team: Team | None = None) -> int:
    """Collect what a team, or every team, owes for disputes and plans. Return how many were paid.

    A debt is collected whole: one that exceeds the team's available balance waits.
    """
    owed = Dispute.objects.filter(owed_nanos__gt=0, collected_at=None, is_reinstated=False)
    if team is not None:
        owed = owed.filter(_is_of(team))
    ids = list(owed.order_by("created_at", "pk").values_list("pk", flat=True))
    collected = sum(_collect_debt(stripe_id) for stripe_id in ids)
    return collected + plan_reversals.collect_refund_debts(team.pk if team else None)


def collect_corrections() -> int:
    """Take back what staff gave for disputes beyond what these still withhold.

    That is what the team no longer had when Stripe reinstated the funds: collected whole, as debts
    are. Call it outside a transaction. Return the number of disputes it was collected for.
    """
    given = Dispute.objects.filter(corrected_nanos__gt=0, reinstated_cents__gt=0)
    ids = list(given.order_by("created_at", "pk").values_list("pk", flat=True))
    return sum(_collect_correction(stripe_id) for stripe_id in ids)


def _collect_correction(stripe_id: str) -> bool:
    with transaction.atomic():
        _lock(Dispute.objects.get(pk=stripe_id).source)
        dispute = Dispute.objects.get(pk=stripe_id)
        withheld_nanos = dispute.credit_nanos - dispute.share(dispute.credit_nanos)
        nanos = dispute.corrected_nanos - withheld_nanos
        if nanos <= 0:
            return False
        try:
            postings.adjust(
                postings.open_account(dispute.team),
                -nanos,
                reference=f"dispute:{stripe_id}:{dispute.reinstated_cents}-{withheld_nanos}",
                memo=f"{dispute.payment}: given ahead of the bank",
            )
        except postings.InsufficientCreditsError:
            return False
        Dispute.objects.filter(pk=stripe_id).update(corrected_nanos=withheld_nanos)
    return True


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
    """Take back the credits of the withdrawn funds, and pause the keys."""
    if isinstance(payment, Order) and not found.is_reinstated:
        refunds.fail_requested(payment)
    dispute.amount_cents = found.amount_cents
    if isinstance(payment, Order):
        part = part_of_charge(payment, found.amount_cents)
        dispute.tax_cents, dispute.credit_nanos = part.tax_cents, part.credit_nanos
        if part.credit_nanos > 0:
            posting = postings.claw_back(
                postings.open_account(payment.team),
                part.credit_nanos,
                reference=dispute.stripe_id,
                credit=postings.Credit(Transfer.Kind.TOP_UP, payment.payment_intent_id or ""),
                memo=dispute.payment,
            )
            dispute.owed_nanos = posting.shortfall_nanos
    else:
        taken = plan_reversals.take_back(
            payment, found.amount_cents, reference=dispute.stripe_id, memo=dispute.payment
        )
        dispute.tax_cents, dispute.credit_nanos = taken.tax_cents, taken.credit_nanos
        dispute.revenue_nanos, dispute.owed_nanos = taken.revenue_nanos, taken.owed_nanos
    dispute.is_withdrawn = True
    _pause_keys(dispute.team, PAUSED_FOR_DISPUTE, dispute.payment)


def _book_reinstatement(dispute: Dispute, found: StripeDispute) -> None:
    """Return the part that Stripe has reinstated by now; if it is all, the dispute is handled.

    What staff gave the team ahead of Stripe is taken back from it, so that nothing is given twice.
    """
    revenue_before = dispute.share(dispute.revenue_nanos)
    dispute.reinstated_cents = min(found.reinstated_cents, dispute.amount_cents)
    dispute.is_reinstated = dispute.is_reinstated or found.is_reinstated
    revenue_nanos = dispute.share(dispute.revenue_nanos) - revenue_before
    if revenue_nanos > 0:
        reference = dispute.stripe_id + (f":{revenue_before}" if revenue_before else "")
        postings.reinstate_subscription(revenue_nanos, reference=reference, memo=dispute.payment)
    up_to_nanos = dispute.share(dispute.credit_nanos)
    if up_to_nanos > 0:
        posting = postings.reverse_claw_back(
            postings.open_account(dispute.team),
            reference=dispute.stripe_id,
            up_to_nanos=up_to_nanos,
            memo=dispute.payment,
        )
        if posting.code == "posted":
            dispute.owed_nanos = max(0, dispute.owed_nanos - posting.shortfall_nanos)
            _take_correction_back(dispute, posting.amount_nanos + posting.shortfall_nanos)
    if dispute.is_reinstated:
        dispute.handled_at = dispute.handled_at or timezone.now()


def _take_correction_back(dispute: Dispute, returned_nanos: int) -> None:
    """Take back what staff gave ahead of Stripe, up to what Stripe has returned by now.

    What the team no longer has of it is collected later (`collect_corrections`).
    """
    account = postings.open_account(dispute.team)
    nanos = min(dispute.corrected_nanos, returned_nanos, account.available_nanos)
    if nanos > 0:
        postings.adjust(
            account,
            -nanos,
            reference=f"dispute:{dispute.stripe_id}:{dispute.reinstated_cents}",
            memo=f"{dispute.payment}: given ahead of the bank",
        )
        dispute.corrected_nanos -= nanos


def _alert_if_partly_reinstated(dispute: Dispute) -> None:
    """Raise an alert for a partly reinstated dispute: keys stay paused until staff decide."""
    if dispute.reinstated_cents > 0 and not dispute.is_reinstated:
        back, all_of_it = cents_text(dispute.reinstated_cents), cents_text(dispute.amount_cents)
        detail = f"{dispute}: {back} of {all_of_it} was reinstated and is booked"
        raise_alert("dispute_part_reinstated", dispute.stripe_id, detail)


def _pause_keys(team: Team, reason: str, subject: str) -> None:
    """Suspend the team's keys unless they are suspended already. Call it in a transaction."""
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if team.suspended_at is None:
        Team.objects.filter(pk=team.pk).update(suspended_at=timezone.now(), suspended_reason=reason)
        audit.record(Actor(team=team), "team.paused", subject, detail={"reason": reason})


def _resume_keys(team: Team, subject: str, staff: User | None = None) -> bool:
    """Resume the team's keys unless another case pauses them. Call it in a transaction.

    Return False if they stay suspended, for instance by staff.
    """
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    if team.suspended_reason not in PAUSE_REASONS or open_cases(team):
        return False
    Team.objects.filter(pk=team.pk).update(suspended_at=None, suspended_reason="")
    actor = audit.Staff(team, staff) if staff is not None else Actor(team=team)
    audit.record(actor, "team.resumed", subject)
    return True


def _lock(payment: Payment) -> Payment:
    """Lock the payment's row: everything about it is booked under this lock."""
    if isinstance(payment, Order):
        return Order.objects.select_for_update().get(pk=payment.pk)
    return SubscriptionPayment.objects.select_for_update().get(pk=payment.pk)


def _link(payment: Payment) -> dict[str, Payment]:
    return {"order" if isinstance(payment, Order) else "subscription_payment": payment}


def _is_of(team: Team) -> Q:
    return Q(order__team=team) | Q(subscription_payment__subscription__team=team)
