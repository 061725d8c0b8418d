"""Subscriptions as Stripe has them: brought in line with ours, and the team's plan with them.

A team's plan is moved when what its subscription gives has changed, and at no other time: a plan
that staff gave by hand outlives a renewal and a subscription's end.
"""

import uuid
from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.models import Plan, Team
from billing.ledger.alerts import raise_alert
from billing.models import PlanPrice, Subscription, SubscriptionPayment
from billing.stripe_api import checkout, subscriptions
from billing.stripe_api.client import StripeUnavailableError
from billing.stripe_api.objects import Session
from billing.stripe_api.objects import Subscription as Found

log = structlog.get_logger(__name__)

Status = Subscription.Status
# In these a team has the plan; a payment that is late does not take it away yet.
GIVING = (Status.ACTIVE, Status.TRIALING, Status.PAST_DUE)
OVER = (Status.CANCELED, Status.INCOMPLETE_EXPIRED)
# Each round that is lost means that somebody else has just written something newer.
ROUNDS = 50

FIRST_CHECK = timedelta(minutes=5)
# A page of Checkout lives for a day, and so does the key that would bring it back.
CHECKOUT_LIFE = timedelta(hours=25)


def live_subscription(team: Team) -> Subscription | None:
    """Returns the team's subscription that has not ended, if it has one."""
    found = Subscription.objects.filter(team=team, stripe_id__isnull=False, ended_at__isnull=True)
    return found.select_related("team", "price__plan", "next_price__plan").first()


def sync(stripe_id: str) -> Subscription | None:
    """Brings our row and the team's plan to what Stripe has now; None: it is none of ours.

    It may be called at any time, by as many as like. Raises StripeError.
    """
    followed = follow(stripe_id)
    return followed[0] if followed else None


def follow(stripe_id: str) -> tuple[Subscription, Found] | None:
    """Does what `sync` does, and returns besides what Stripe has. Raises StripeError."""
    for _ in range(ROUNDS):
        seen = Subscription.objects.filter(stripe_id=stripe_id).values_list("revision", flat=True)
        revision = seen.first() or 0
        found = subscriptions.get_subscription(stripe_id)
        row = _row_of(found)
        if row is None:
            return None
        row, is_done = _apply(row.pk, row.team_id, found, revision)
        if is_done:
            if row.is_duplicate and found.status not in OVER:
                subscriptions.end_now(found)
            return row, found
    raise StripeUnavailableError(f"{stripe_id} changes faster than it can be followed.")


def confirm_session(row: Subscription, session: Session) -> Subscription:
    """Brings a row in line with the session of its Checkout, as Stripe has it now.

    Raises StripeError.
    """
    if session.client_reference_id == str(row.pk):
        if session.subscription_id:
            return sync(session.subscription_id) or row
        if session.status == "expired":
            end_checkout(row)
    return row


def end_checkout(row: Subscription) -> None:
    """Ends a row whose page was not finished. (Should it turn out paid, it begins all the same.)"""
    Subscription.objects.filter(pk=row.pk, stripe_id=None, ended_at=None).update(
        status=Status.INCOMPLETE_EXPIRED, ended_at=timezone.now()
    )
    row.refresh_from_db()


def find_row(text: str) -> Subscription | None:
    """Returns the row of an id that came from outside, if it is one."""
    try:
        return Subscription.objects.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        return None


def uncertain() -> list[Subscription]:
    """Returns the rows about which a webhook may have been lost.

    They have begun minutes ago, their period or their latest invoice is over without news, or their
    payment is late.
    """
    now = timezone.now()
    paid = SubscriptionPayment.objects.filter(
        subscription=OuterRef("pk"), invoice_id=OuterRef("latest_invoice_id")
    )
    begun = Q(stripe_id__isnull=True, created_at__lt=now - FIRST_CHECK)
    overdue = Q(current_period_end__lt=now) | ~Q(status=Status.ACTIVE) | ~Exists(paid)
    found = Subscription.objects.filter(
        begun | Q(stripe_id__isnull=False) & overdue, ended_at__isnull=True
    )
    return list(found.order_by("created_at"))


def check(row: Subscription) -> Subscription:
    """Asks Stripe how a row stands, and returns it as it is then. Raises StripeError."""
    if row.stripe_id:
        return sync(row.stripe_id) or row
    if row.session_id:
        return confirm_session(row, checkout.get_session(row.session_id))
    if row.created_at < timezone.now() - CHECKOUT_LIFE:
        end_checkout(row)
    return row


def _row_of(found: Found) -> Subscription | None:
    row = Subscription.objects.filter(stripe_id=found.id).first() or find_row(found.row)
    if row is None or row.is_live != found.is_live or row.stripe_id not in (None, found.id):
        return None
    return row


def _apply(
    row_id: uuid.UUID, team_id: int, found: Found, revision: int
) -> tuple[Subscription, bool]:
    """Writes what was found, unless the row has changed since it was asked for (False)."""
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
        before, had = _state(row), _plan_given(row)
        _take_over(row, found)
        if _state(row) != before:
            row.revision += 1
            row.save()
            _move(team, had, _plan_given(row))
            log.info("subscription_changed", subscription=str(row.pk), status=row.status)
    return row, True


def _take_over(row: Subscription, found: Found) -> None:
    """Puts into the row what Stripe says."""
    price = PlanPrice.objects.select_related("plan").filter(stripe_id=found.price_id).first()
    if price is None:
        detail = f"Stripe bills {found.price_id}, no price of ours."
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
    row.ended_at = (found.ended_at or timezone.now()) if found.status in OVER else None


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


def _plan_given(row: Subscription) -> Plan | None:
    return row.price.plan if row.stripe_id and row.status in GIVING else None


def _move(team: Team, had: Plan | None, has: Plan | None) -> None:
    """Moves the team from the plan that its subscription gave to the one that it gives now."""
    if had == has:
        return
    default = Plan.objects.filter(is_default=True).first()
    if has is None:
        if team.plan == had and default is not None:
            _set_plan(team, default)
    elif team.plan in (had, default) or team.plan.requests_per_minute <= has.requests_per_minute:
        _set_plan(team, has)


def _set_plan(team: Team, plan: Plan) -> None:
    team.plan = plan
    team.save(update_fields=["plan"])


def _mark_duplicate(row: Subscription, found: Found) -> None:
    row.stripe_id = found.id
    row.status = Status.CANCELED
    row.is_duplicate = True
    row.ended_at = timezone.now()
    row.save()
    raise_alert(
        "subscription_duplicate",
        found.id,
        "The team has a subscription already: this one was cancelled. Give its payment back.",
    )
