"""Subscriptions, synchronised from Stripe, and the team's plan with them.

A team's plan changes only when the plan of its subscription does: a plan set by staff survives
renewals and the subscription's end.
"""

import uuid
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.models import Plan, Team
from billing import events
from billing.errors import StripeUnavailableError
from billing.ledger.alerts import raise_alert
from billing.models import PlanPrice, Subscription, SubscriptionPayment
from billing.stripe_api import checkout, subscriptions
from billing.stripe_api.objects import Session
from billing.stripe_api.objects import Subscription as StripeSubscription

log = structlog.get_logger(__name__)

Status = Subscription.Status
# In these a team has the plan: an overdue payment does not take it away yet
# (https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses).
UNPAID_STATUSES = (Status.PAST_DUE, Status.UNPAID)
ENTITLED_STATUSES = (Status.ACTIVE, Status.TRIALING, Status.PAST_DUE)
ENDED_STATUSES = (Status.CANCELED, Status.INCOMPLETE_EXPIRED)
# An attempt is wasted only when another process has just written something newer.
MAX_SYNC_ATTEMPTS = 50

CHECK_AFTER = timedelta(minutes=5)
# A Checkout Session expires after a day, and so does the idempotency key that would return it.
CHECKOUT_LIFETIME = timedelta(hours=25)


def live_subscription(team: Team) -> Subscription | None:
    """Return the team's subscription that has not ended, if it has one."""
    found = Subscription.objects.filter(team=team, stripe_id__isnull=False, ended_at__isnull=True)
    return found.select_related("team", "price__plan", "next_price__plan").first()


def sync(stripe_id: str) -> Subscription | None:
    """Update our row and the team's plan from Stripe, and return the row, or None if not ours.

    Safe to call at any time, and concurrently. Raise StripeError.
    """
    synced = sync_and_fetch(stripe_id)
    return synced[0] if synced else None


def sync_and_fetch(stripe_id: str) -> tuple[Subscription, StripeSubscription] | None:
    """Do as `sync` does, and return Stripe's subscription as well. Raise StripeError."""
    for _ in range(MAX_SYNC_ATTEMPTS):
        stored = Subscription.objects.filter(stripe_id=stripe_id)
        revision = stored.values_list("revision", flat=True).first() or 0
        found = subscriptions.get_subscription(stripe_id)
        row = _row_of(found)
        if row is None:
            return None
        row, is_current = _apply(row.pk, row.team_id, found, revision)
        if is_current:
            if row.is_duplicate and found.status not in ENDED_STATUSES:
                subscriptions.cancel_now(found)
            return row, found
    raise StripeUnavailableError(f"{stripe_id} changes faster than it can be synchronised.")


def confirm_session(row: Subscription, session: Session) -> Subscription:
    """Update a row from its Checkout Session's current state. Raise StripeError."""
    if session.client_reference_id == str(row.pk):
        if session.subscription_id:
            return sync(session.subscription_id) or row
        if session.status == "expired":
            expire_checkout(row)
    return row


def expire_checkout(row: Subscription) -> None:
    """End a row whose Checkout was not completed. If it was paid after all, `sync` revives it."""
    Subscription.objects.filter(pk=row.pk, stripe_id=None, ended_at=None).update(
        status=Status.INCOMPLETE_EXPIRED, ended_at=timezone.now()
    )
    row.refresh_from_db()


def find_subscription(text: str) -> Subscription | None:
    """Return the row with this id from outside, which may be no UUID."""
    try:
        return Subscription.objects.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        return None


def subscriptions_to_check() -> list[Subscription]:
    """Return the rows for which a webhook may have been lost.

    Their Checkout is minutes old, their period has ended, their payment is overdue, or their latest
    invoice is not booked.
    """
    now = timezone.now()
    paid = SubscriptionPayment.objects.filter(
        subscription=OuterRef("pk"), invoice_id=OuterRef("latest_invoice_id")
    )
    pending = Q(stripe_id__isnull=True, created_at__lt=now - CHECK_AFTER)
    overdue = Q(current_period_end__lt=now) | ~Q(status=Status.ACTIVE) | ~Exists(paid)
    found = Subscription.objects.filter(
        pending | Q(stripe_id__isnull=False) & overdue, ended_at__isnull=True
    )
    return list(found.order_by("created_at"))


def refresh(row: Subscription) -> Subscription:
    """Update a row from Stripe, and return its current state. Raise StripeError."""
    if row.stripe_id:
        return sync(row.stripe_id) or row
    if row.session_id:
        return confirm_session(row, checkout.get_session(row.session_id))
    if row.created_at < timezone.now() - CHECKOUT_LIFETIME:
        expire_checkout(row)
    return row


def _row_of(found: StripeSubscription) -> Subscription | None:
    row = Subscription.objects.filter(stripe_id=found.id).first() or find_subscription(
        found.local_id
    )
    if row is None or row.is_live != found.is_live or row.stripe_id not in (None, found.id):
        return None
    return row


def _apply(
    row_id: uuid.UUID, team_id: int, found: StripeSubscription, revision: int
) -> tuple[Subscription, bool]:
    """Store Stripe's state. Return False if the row has changed since that was fetched."""
    with transaction.atomic():
        team = Team.objects.select_for_update(no_key=True).get(pk=team_id)
        row = Subscription.objects.select_related("price__plan", "next_price").get(pk=row_id)
        if row.is_duplicate:
            return row, True
        if row.revision != revision:
            return row, False
        if row.stripe_id is None and live_subscription(team) is not None:
            _mark_duplicate(row, found)
            return row, True
        before, plan_before = _state(row), _entitled_plan(row)
        _copy_from_stripe(row, found)
        if _state(row) != before:
            row.revision += 1
            row.save()
            _update_team_plan(team, plan_before, _entitled_plan(row))
            if row.status in UNPAID_STATUSES:
                events.publish_plan_unpaid(row)
            log.info("subscription_changed", subscription=str(row.pk), status=row.status)
    return row, True


def _copy_from_stripe(row: Subscription, found: StripeSubscription) -> None:
    """Set the row's fields from Stripe's subscription."""
    price = PlanPrice.objects.select_related("plan").filter(stripe_id=found.price_id).first()
    if price is None:
        detail = f"Stripe bills {found.price_id}, which is not one of our prices."
        raise_alert("subscription_price", found.id, detail)
    else:
        is_new_period = row.current_period_end is None or found.period_end > row.current_period_end
        if is_new_period or price.price_cents >= row.price.price_cents:
            row.price, row.next_price = price, None
        else:
            row.next_price = price
    row.stripe_id = found.id
    row.status = found.status
    row.current_period_end = found.period_end
    row.cancel_at_period_end = found.is_ending
    row.latest_invoice_id = found.latest_invoice_id
    row.ended_at = (found.ended_at or timezone.now()) if found.status in ENDED_STATUSES else None


def _state(row: Subscription) -> tuple[object, ...]:
    is_over = row.ended_at is not None
    return (
        row.stripe_id,
        row.status,
        row.price_id,
        row.next_price_id,
        row.current_period_end,
        row.cancel_at_period_end,
        row.latest_invoice_id,
        is_over,
    )


def _entitled_plan(row: Subscription) -> Plan | None:
    return row.price.plan if row.stripe_id and row.status in ENTITLED_STATUSES else None


def _update_team_plan(team: Team, before: Plan | None, after: Plan | None) -> None:
    """Change the team's plan with its subscription's, but never replace higher limits by staff."""
    if before == after:
        return
    default = Plan.objects.filter(is_default=True).first()
    if after is None:
        if team.plan == before and default is not None:
            _set_plan(team, default)
    elif (
        team.plan in (before, default) or team.plan.requests_per_minute <= after.requests_per_minute
    ):
        _set_plan(team, after)


def _set_plan(team: Team, plan: Plan) -> None:
    team.plan = plan
    team.save(update_fields=["plan"])


def _mark_duplicate(row: Subscription, found: StripeSubscription) -> None:
    row.stripe_id = found.id
    row.status = Status.CANCELED
    row.is_duplicate = True
    row.ended_at = timezone.now()
    row.save()
    raise_alert(
        "subscription_duplicate",
        found.id,
        "The team already has a subscription, so this one was cancelled. Refund its payment.",
    )
