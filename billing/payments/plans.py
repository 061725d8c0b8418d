"""Monthly plans: the offers, and subscribing to, changing, cancelling and resuming a plan.

Each action fetches the subscription from Stripe, changes it there, and then updates our row by the
same function that the webhooks use.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction
from django.utils.translation import gettext

from accounts import audit
from accounts.access import Actor
from accounts.models import Team, User
from billing.errors import StripeError, StripeRejectedError
from billing.models import PlanOffer, PlanPrice, Subscription
from billing.payments import invoices
from billing.payments.customers import get_or_create_customer
from billing.payments.subscriptions import (
    confirm_session,
    expire_checkout,
    live_subscription,
    refresh,
    sync,
    sync_and_fetch,
)
from billing.pricing.money import cents_text
from billing.stripe_api import checkout, subscriptions
from billing.stripe_api.objects import Session
from billing.stripe_api.objects import Subscription as StripeSubscription
from billing.stripe_settings import is_live

Status = Subscription.Status
PAID_STATUSES = (Status.ACTIVE, Status.TRIALING)


class PlanError(Exception):
    """An action that is not possible now; the message is for the customer."""


@dataclass(frozen=True)
class Quote:
    """The price before tax and the credits of a change of plan, effective at `at`."""

    is_upgrade: bool
    charge_cents: int
    credit_nanos: int
    at: datetime


def find_offer(name: str) -> PlanOffer | None:
    """Return the offer of the plan with this name, on sale or not."""
    return PlanOffer.objects.select_related("plan").filter(plan__name=name).first()


def offers() -> list[PlanOffer]:
    """Return the offers that are on sale, in display order."""
    return list(PlanOffer.objects.filter(is_offered=True).select_related("plan"))


def open_checkout(
    team: Team,
    user: User,
    offer: PlanOffer,
    *,
    success_url: str,
    cancel_url: str,
    ip_address: str | None = None,
) -> str:
    """Return the URL of the Checkout page where the team subscribes to an offer.

    A team has one such page at a time: one for another plan is expired first, so that two can't be
    paid. Raise PlanError, also for a team that is already subscribed, and StripeError.
    """
    _require_offered(offer)
    price = price_of(offer)
    while True:
        row = _get_or_create_pending(team, user, price, ip_address)
        session = _checkout_session(row, user, success_url=success_url, cancel_url=cancel_url)
        if session.status == "open" and row.price_id == price.pk:
            return session.url
        if session.status == "open":
            session = _expire_session(session)
        row = confirm_session(row, session)
        if row.ended_at is None:
            raise PlanError(gettext("Your team has just subscribed to a plan. Reload the page."))


def confirm_checkout(team: Team) -> Subscription | None:
    """Update the team's newest subscription from Stripe, and book its invoices.

    Return None for a team that never had one. Raise StripeError.
    """
    row = Subscription.objects.filter(team=team).order_by("-created_at").first()
    if row is not None:
        row = refresh(row)
        invoices.book_recent_invoices(row)
    return row


def quote(subscription: Subscription, offer: PlanOffer) -> Quote:
    """Return the current cost of changing to an offer. Raise PlanError and StripeError."""
    _require_offered(offer)
    subscription, found = _require_changeable(subscription, offer)
    old = subscription.price
    if offer.price_cents <= old.price_cents:
        return Quote(False, 0, 0, found.period_end)
    now = datetime.now(UTC).replace(microsecond=0)
    remaining, period = found.period_end - now, found.period_end - found.period_start
    # Stripe rounds the credit for the old plan and the charge for the new one separately.
    credited = round(old.price_cents * remaining / period)
    charged = round(offer.price_cents * remaining / period)
    credit_nanos = (
        offer.credit_nanos * charged // offer.price_cents
        - old.credit_nanos * credited // old.price_cents
    )
    return Quote(True, charged - credited, max(0, credit_nanos), now)


def change(
    actor: Actor,
    subscription: Subscription,
    offer: PlanOffer,
    *,
    at: datetime,
    attempt: str,
    ip_address: str | None = None,
) -> Subscription:
    """Change the plan, and return the subscription's current state.

    An upgrade takes effect at once: the price of a quote made at `at` is charged, or nothing
    changes (CardDeclinedError); its invoice is booked without waiting for the webhook. A downgrade
    takes effect with the next period. A repeated `attempt` is charged once. Raise PlanError and the
    kinds of StripeError.
    """
    _require_offered(offer)
    subscription, found = _require_changeable(subscription, offer)
    price = price_of(offer)
    if price.price_cents > subscription.price.price_cents:
        subscriptions.upgrade(
            found, _stripe_price_id(price), at=int(at.timestamp()), attempt=attempt
        )
        _record(actor, "plan.upgraded", subscription, price, ip_address)
    else:
        subscriptions.renew_at_price(found, _stripe_price_id(price))
        _record(actor, "plan.downgraded", subscription, price, ip_address)
    subscription = _sync(subscription)
    if subscription.next_price is None:
        invoices.book_recent_invoices(subscription)
    return subscription


def cancel(
    actor: Actor, subscription: Subscription, *, ip_address: str | None = None
) -> Subscription:
    """Cancel the plan at the end of the paid period, or at once if it is unpaid.

    Raise StripeError.
    """
    found = subscriptions.get_subscription(_stripe_id(subscription))
    if found.status in PAID_STATUSES:
        subscriptions.cancel_at_period_end(found)
    elif found.status not in (Status.CANCELED, Status.INCOMPLETE_EXPIRED):
        subscriptions.cancel_now(found)
    _record(actor, "plan.cancelled", subscription, None, ip_address)
    return _sync(subscription)


def resume(
    actor: Actor, subscription: Subscription, *, ip_address: str | None = None
) -> Subscription:
    """Undo a cancellation or a downgrade that has not taken effect yet.

    Raise PlanError if it is too late, and StripeError.
    """
    found = subscriptions.get_subscription(_stripe_id(subscription))
    if found.status not in PAID_STATUSES:
        raise PlanError(gettext("This plan has ended or is unpaid, so it can't be resumed."))
    subscriptions.renew_at_price(found, _stripe_price_id(subscription.price))
    _record(actor, "plan.resumed", subscription, None, ip_address)
    return _sync(subscription)


def price_of(offer: PlanOffer) -> PlanPrice:
    """Return the offer's current terms, with a price at Stripe. Raise StripeError."""
    price, _ = PlanPrice.objects.get_or_create(
        plan=offer.plan,
        price_cents=offer.price_cents,
        credit_nanos=offer.credit_nanos,
        credit_days=offer.credit_days,
        is_live=is_live(),
    )
    if price.stripe_id is None:
        # Two processes may create two prices at Stripe: the one we don't store stays unused.
        stripe_id = subscriptions.create_price(
            plan=offer.plan.name, title=f"{offer.plan.title} plan", amount_cents=price.price_cents
        )
        PlanPrice.objects.filter(pk=price.pk, stripe_id=None).update(stripe_id=stripe_id)
        price.refresh_from_db(fields=["stripe_id"])
    return price


def _require_offered(offer: PlanOffer) -> None:
    if not offer.is_offered:
        raise PlanError(gettext("{plan} is no longer offered.").format(plan=offer.plan.title))


def _require_changeable(
    subscription: Subscription, offer: PlanOffer
) -> tuple[Subscription, StripeSubscription]:
    """Return our subscription, updated from Stripe, and Stripe's.

    Raise PlanError if it can't be changed to the offer.
    """
    synced = sync_and_fetch(_stripe_id(subscription))
    if synced is None:
        raise PlanError(gettext("Stripe does not know your plan. Please contact us."))
    subscription, found = synced
    if offer.plan_id == subscription.price.plan_id:
        raise PlanError(gettext("Your team is already on {plan}.").format(plan=offer.plan.title))
    if found.status not in PAID_STATUSES:
        raise PlanError(
            gettext("Your plan is unpaid. Pay the open invoice first, then change the plan.")
        )
    if found.is_ending or found.price_id != subscription.price.stripe_id:
        raise PlanError(
            gettext(
                "Your plan already changes with the next period. Keep {plan} first, then choose "
                "another plan."
            ).format(plan=subscription.price.plan.title)
        )
    return subscription, found


def _get_or_create_pending(
    team: Team, user: User, price: PlanPrice, ip_address: str | None
) -> Subscription:
    """Return the row of the team's one open Checkout, created if there is none.

    Raise PlanError if the team has a subscription.
    """
    with transaction.atomic():
        Team.objects.select_for_update(no_key=True).get(pk=team.pk)
        live = live_subscription(team)
        if live is not None:
            text = gettext("Your team is already on {plan}. Change that plan.")
            raise PlanError(text.format(plan=live.price.plan.title))
        row, is_new = Subscription.objects.select_related("price").get_or_create(
            team=team,
            stripe_id=None,
            ended_at=None,
            defaults={"user": user, "price": price, "is_live": is_live()},
        )
        if is_new:
            _record(Actor(team=team, user=user), "plan.ordered", row, None, ip_address)
    return row


def _checkout_session(
    row: Subscription, user: User, *, success_url: str, cancel_url: str
) -> Session:
    """Return the row's session, created if there is none. Raise StripeError."""
    if row.session_id:
        return checkout.get_session(row.session_id)
    try:
        session = checkout.create_subscription_session(
            local_id=str(row.pk),
            customer_id=get_or_create_customer(row.team, user).stripe_id,
            price_id=_stripe_price_id(row.price),
            success_url=success_url,
            cancel_url=cancel_url,
        )
    except StripeError:
        # Stripe may replay the failure for this idempotency key. A page whose URL nobody got is
        # never paid, so the next attempt may start over with a new row.
        expire_checkout(row)
        raise
    Subscription.objects.filter(pk=row.pk, session_id=None).update(session_id=session.id)
    return session


def _expire_session(session: Session) -> Session:
    """Expire an open session, and return its current state: it may have been paid meanwhile."""
    try:
        return checkout.expire_session(session.id)
    except StripeRejectedError:
        return checkout.get_session(session.id)


def _record(
    actor: Actor,
    action: str,
    subscription: Subscription,
    price: PlanPrice | None,
    ip_address: str | None,
) -> None:
    """Write the audit entry of an action, as soon as Stripe has done it."""
    detail = {"plan": subscription.price.plan.title}
    if price is not None:
        detail |= {"to": price.plan.title, "price": cents_text(price.price_cents)}
    audit.record(actor, action, subscription.price.plan.title, detail=detail, ip_address=ip_address)


def _sync(subscription: Subscription) -> Subscription:
    return sync(_stripe_id(subscription)) or subscription


def _stripe_id(subscription: Subscription) -> str:
    if subscription.stripe_id is None:
        raise PlanError(gettext("Your plan has not started yet."))
    return subscription.stripe_id


def _stripe_price_id(price: PlanPrice) -> str:
    if price.stripe_id is None:  # every price that was ever sold has one
        raise PlanError(gettext("This plan is not on sale yet."))
    return price.stripe_id
