"""Manual postings by staff: grants, adjustments, goodwill, and large refunds.

A posting above STAFF_APPROVAL_DOLLARS waits for a second person. The row's id is the ledger's
reference, so submitting a form or a confirmation twice doesn't move money twice.

| kind       | debit → credit                  | transfer             |
|------------|---------------------------------|----------------------|
| grant      | promotional_grants → customer   | `grant`, may expire  |
| adjustment | adjustments ↔ customer          | `adjustment`         |
| goodwill   | adjustments → customer          | `adjustment`         |
| refund     | customer → stripe_clearing      | `refund`, by its own |
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.audit import Staff
from accounts.models import User
from accounts.staff_actions import log_action
from accounts.staff_invitations import SECOND_PERSON_MISSING, is_second_person
from billing.errors import StripeError
from billing.failpoints import failpoint
from billing.ledger import postings
from billing.models import ManualPosting, Order, Refund
from billing.payments import refunds
from billing.pricing.money import (
    NANOS_PER_CENT,
    cents_text,
    dollars_short_text,
    nanos_from_dollars,
)

_ACTIONS = {
    ManualPosting.Kind.GRANT: "credits.granted",
    ManualPosting.Kind.ADJUSTMENT: "balance.adjusted",
    ManualPosting.Kind.GOODWILL: "goodwill.given",
    ManualPosting.Kind.REFUND: "refund.confirmed",
}


class ManualPostingError(Exception):
    """A posting that can't be made; the message is for staff, `field` is the form's field."""

    def __init__(self, message: str, field: str = "amount") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class PostingRequest:
    """What staff ask for. `id` is the form's; `order` is set for refunds only."""

    id: UUID
    kind: ManualPosting.Kind
    amount_nanos: int
    reason: str
    expires_at: datetime | None = None
    order: Order | None = None
    is_forced: bool = False


def needs_approval(amount_nanos: int) -> bool:
    """Return whether a second person has to confirm a posting of that amount."""
    return abs(amount_nanos) > nanos_from_dollars(settings.STAFF_APPROVAL_DOLLARS)


def request(staff: Staff, wanted: PostingRequest) -> ManualPosting:
    """Post what a staff member asks for, or keep it for a second person to confirm.

    A repeat of the same form changes nothing and returns its posting. Raise ManualPostingError.
    """
    if not wanted.reason.strip():
        raise ManualPostingError("Enter a reason. It is kept with the posting.", "reason")
    if wanted.amount_nanos == 0 or (
        wanted.amount_nanos < 0 and wanted.kind != ManualPosting.Kind.ADJUSTMENT
    ):
        raise ManualPostingError("Enter an amount above zero.")
    with transaction.atomic():
        posting, is_new = ManualPosting.objects.get_or_create(
            pk=wanted.id,
            defaults={
                "team": staff.team,
                "kind": wanted.kind,
                "amount_nanos": wanted.amount_nanos,
                "expires_at": wanted.expires_at,
                "order": wanted.order,
                "is_forced": wanted.is_forced,
                "reason": wanted.reason.strip()[:300],
                "requested_by": staff.user,
            },
        )
        if not is_new:
            return _require_same(posting, staff, wanted)
        if not needs_approval(wanted.amount_nanos):
            return _post(posting, staff.user)
        detail = _detail(posting)
        log_action(staff, "credits.requested", posting, posting.reason, detail=detail)
    return posting


def request_refund(
    order: Order, amount_cents: int, *, reason: str, is_forced: bool, staff: User, refund_id: UUID
) -> Refund | ManualPosting:
    """Refund an order, or keep the refund for a second person to confirm.

    The arguments are those of `refunds.request_refund`. Raise RefundError.
    """
    amount_nanos = amount_cents * NANOS_PER_CENT
    if not needs_approval(amount_nanos):
        return refunds.request_refund(
            order,
            amount_cents,
            reason=reason,
            is_forced=is_forced,
            staff=staff,
            refund_id=refund_id,
        )
    refunds.check_request(order, amount_cents, reason=reason)
    wanted = PostingRequest(
        refund_id, ManualPosting.Kind.REFUND, amount_nanos, reason, order=order, is_forced=is_forced
    )
    try:
        return request(Staff(order.team, staff), wanted)
    except ManualPostingError as error:
        raise refunds.RefundError(str(error), error.field) from None


def approve(posting: ManualPosting, user: User) -> ManualPosting:
    """Confirm a pending posting and make it. A repeat changes nothing.

    Raise ManualPostingError if the user requested it, if it was rejected, and if the ledger or the
    order's refund refuses it: it then stays pending.
    """
    if not is_second_person(user, posting.requested_by_id):
        raise ManualPostingError(SECOND_PERSON_MISSING)
    if posting.kind == ManualPosting.Kind.REFUND:
        return _approve_refund(posting, user)
    with transaction.atomic():
        locked = _locked(posting)
        return locked if locked.state == ManualPosting.State.POSTED else _post(locked, user)


def reject(posting: ManualPosting, user: User, reason: str) -> ManualPosting:
    """Reject a pending posting: no money moves. Raise ManualPostingError if it was posted."""
    with transaction.atomic():
        posting = _locked(posting)
        if posting.state == ManualPosting.State.PENDING:
            _decide(posting, ManualPosting.State.REJECTED, user)
            log_action(Staff(posting.team, user), "credits.rejected", posting, reason)
        elif posting.state == ManualPosting.State.POSTED:
            raise ManualPostingError("This posting has already been confirmed.")
    return posting


def _post(posting: ManualPosting, user: User) -> ManualPosting:
    """Make the posting, in the caller's transaction. Raise ManualPostingError."""
    account = postings.open_account(posting.team)
    reference, memo = f"manual:{posting.pk}", str(posting.get_kind_display())
    amount_nanos = posting.amount_nanos
    try:
        if posting.kind == ManualPosting.Kind.GRANT:
            expires_at = posting.expires_at
            postings.grant(
                account, amount_nanos, reference=reference, memo=memo, expires_at=expires_at
            )
        else:
            postings.adjust(account, amount_nanos, reference=reference, memo=memo)
    except postings.InsufficientCreditsError:
        available = _amount_text(max(0, account.available_nanos))
        raise ManualPostingError(f"Only {available} is available.") from None
    failpoint("after_manual_posting")
    _record_posted(posting, user)
    return posting


def _approve_refund(posting: ManualPosting, user: User) -> ManualPosting:
    """Make a refund that waited. Its id is the posting's, so a retry after a crash is harmless."""
    with transaction.atomic():
        posting = _locked(posting)
        if posting.state == ManualPosting.State.POSTED:
            return posting
        order, requester = posting.order, posting.requested_by
        if order is None or requester is None:
            raise ManualPostingError("Its requester's account was deleted. Request it again.")
    try:
        refunds.request_refund(
            order,
            posting.amount_nanos // NANOS_PER_CENT,
            reason=posting.reason,
            is_forced=posting.is_forced,
            staff=requester,
            refund_id=posting.pk,
        )
    except (refunds.RefundError, StripeError) as error:
        raise ManualPostingError(str(error)) from None
    failpoint("after_refund_confirmed")
    with transaction.atomic():
        posting = _locked_row(posting)
        if posting.state == ManualPosting.State.PENDING:
            _record_posted(posting, user)
    return posting


def _locked(posting: ManualPosting) -> ManualPosting:
    """Return the row, locked. Raise ManualPostingError if it was rejected."""
    found = _locked_row(posting)
    if found.state == ManualPosting.State.REJECTED:
        raise ManualPostingError("This posting was rejected. Request it again.")
    return found


def _locked_row(posting: ManualPosting) -> ManualPosting:
    return ManualPosting.objects.select_for_update().get(pk=posting.pk)


def _record_posted(posting: ManualPosting, user: User) -> None:
    _decide(posting, ManualPosting.State.POSTED, user)
    action, detail = _ACTIONS[ManualPosting.Kind(posting.kind)], _detail(posting)
    log_action(Staff(posting.team, user), action, posting, posting.reason, detail=detail)


def _decide(posting: ManualPosting, state: ManualPosting.State, user: User) -> None:
    posting.state, posting.decided_by, posting.decided_at = state, user, timezone.now()
    posting.save(update_fields=["state", "decided_by", "decided_at"])


def _require_same(earlier: ManualPosting, staff: Staff, wanted: PostingRequest) -> ManualPosting:
    given = (staff.team.pk, wanted.kind, wanted.amount_nanos)
    if (earlier.team_id, earlier.kind, earlier.amount_nanos) != given:
        raise ManualPostingError(
            "This form was already submitted with another amount. Reload the page."
        )
    return earlier


def _detail(posting: ManualPosting) -> dict[str, object]:
    return {"amount": _amount_text(posting.amount_nanos)}


def _amount_text(amount_nanos: int) -> str:
    if amount_nanos % NANOS_PER_CENT == 0:
        return cents_text(amount_nanos // NANOS_PER_CENT)
    return f"{'-' if amount_nanos < 0 else ''}${dollars_short_text(abs(amount_nanos))}"
