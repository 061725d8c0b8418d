"""Monthly plans: what is offered, and what a team does about its own.

Each deed asks Stripe how the subscription stands, changes it there, and then brings our row in line
by the same function that the webhooks use.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction

from accounts import audit
from accounts.access import Actor
from accounts.models import Team, User
from billing.models import PlanOffer, PlanPrice, Subscription
from billing.payments.customers import customer_of
from billing.payments.subscriptions import (
    confirm_session,
    end_checkout,
    follow,
    live_subscription,
    sync,
)
from billing.pricing.money import cents_text
from billing.stripe_api import checkout, client, subscriptions
from billing.stripe_api.client import StripeError, StripeRefusedError
from billing.stripe_api.objects import Session
from billing.stripe_api.objects import Subscription as Found

Status = Subscription.Status
RUNNING = (Status.ACTIVE, Status.TRIALING)


class PlanError(Exception):
    """A deed that can't be done as things are; the message is for the customer."""


@dataclass(frozen=True)
class Quote:
    """What a change of plan costs, before tax, and gives: at once, or from `at` on."""

    is_upgrade: bool
    charge_cents: int
    credit_nanos: int
    at: datetime


def offers() -> list[PlanOffer]:
    """Returns what can be subscribed to, the first offer first."""
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
    """Returns the address of Stripe's page where the team subscribes to an offer.

    A team has one such page at a time: one for another plan ends first, so that no two can be paid.
    Raises PlanError, for a team that is subscribed already too, and StripeError.
    """
    _require_offered(offer)
    price = price_of(offer)
    while True:
        row = _begin(team, user, price, ip_address)
        session = _session_of(row, user, success_url=success_url, cancel_url=cancel_url)
        if session.status == "open" and row.price_id == price.pk:
            return session.url
        if session.status == "open":
            session = _end_session(session)
        row = confirm_session(row, session)
        if row.ended_at is None:
            raise PlanError("Your team has just subscribed to a plan. Load the page again.")


def quote(subscription: Subscription, offer: PlanOffer) -> Quote:
    """Returns what a change to an offer costs as of now. Raises PlanError and StripeError."""
    _require_offered(offer)
    subscription, found = _running(subscription, offer)
    old = subscription.price
    if offer.price_cents <= old.price_cents:
        return Quote(False, 0, 0, found.period_end)
    now = datetime.now(UTC).replace(microsecond=0)
    left, whole = found.period_end - now, found.period_end - found.period_start
    # Stripe rounds what it gives back and what it charges, each by itself.
    back = round(old.price_cents * left / whole)
    rest = round(offer.price_cents * left / whole)
    credit_nanos = (
        offer.credit_nanos * rest // offer.price_cents - old.credit_nanos * back // old.price_cents
    )
    return Quote(True, rest - back, max(0, credit_nanos), now)


def change(
    actor: Actor,
    subscription: Subscription,
    offer: PlanOffer,
    *,
    at: datetime,
    attempt: str,
    ip_address: str | None = None,
) -> Subscription:
    """Changes the plan, and returns the subscription as it is then.

    A dearer plan is had at once: what a quote of the moment `at` says is charged, or nothing has
    changed (CardRefusedError). A cheaper one begins with the next period. The same `attempt` is
    charged once. Raises PlanError and the kinds of StripeError.
    """
    _require_offered(offer)
    subscription, found = _running(subscription, offer)
    price = price_of(offer)
    if price.price_cents > subscription.price.price_cents:
        subscriptions.upgrade(found, _at_stripe(price), at=int(at.timestamp()), attempt=attempt)
        _record(actor, "plan.upgraded", subscription, price, ip_address)
    else:
        subscriptions.continue_with(found, _at_stripe(price))
        _record(actor, "plan.downgraded", subscription, price, ip_address)
    return _synced(subscription)


def cancel(
    actor: Actor, subscription: Subscription, *, ip_address: str | None = None
) -> Subscription:
    """Lets the plan end with what is paid for; one that isn't paid ends at once.

    Raises StripeError.
    """
    found = subscriptions.get_subscription(_id_of(subscription))
    if found.status in RUNNING:
        subscriptions.end_with_period(found)
    elif found.status not in (Status.CANCELED, Status.INCOMPLETE_EXPIRED):
        subscriptions.end_now(found)
    _record(actor, "plan.cancelled", subscription, None, ip_address)
    return _synced(subscription)


def resume(
    actor: Actor, subscription: Subscription, *, ip_address: str | None = None
) -> Subscription:
    """Takes back a cancellation or a change to a cheaper plan, before it has come.

    Raises PlanError where it is too late, and StripeError.
    """
    found = subscriptions.get_subscription(_id_of(subscription))
    if found.status not in RUNNING:
        raise PlanError("This plan has ended, or is not paid. It can't be resumed.")
    subscriptions.continue_with(found, _at_stripe(subscription.price))
    _record(actor, "plan.resumed", subscription, None, ip_address)
    return _synced(subscription)


def price_of(offer: PlanOffer) -> PlanPrice:
    """Returns the offer's terms as they are now, with a price at Stripe. Raises StripeError."""
    price, _ = PlanPrice.objects.get_or_create(
        plan=offer.plan,
        price_cents=offer.price_cents,
        credit_nanos=offer.credit_nanos,
        credit_days=offer.credit_days,
        is_live=client.is_live(),
    )
    if price.stripe_id is None:
        # Two at once may make two at Stripe: the one that nobody keeps is in nobody's way.
        stripe_id = subscriptions.create_price(
            plan=offer.plan.name, title=f"{offer.plan.title} plan", amount_cents=price.price_cents
        )
        PlanPrice.objects.filter(pk=price.pk, stripe_id=None).update(stripe_id=stripe_id)
        price.refresh_from_db(fields=["stripe_id"])
    return price


def _require_offered(offer: PlanOffer) -> None:
    if not offer.is_offered:
        raise PlanError(f"{offer.plan.title} is no longer offered.")


def _running(subscription: Subscription, offer: PlanOffer) -> tuple[Subscription, Found]:
    """Returns the subscription, in line with Stripe's, and Stripe's.

    Raises PlanError where it can't be changed to the offer.
    """
    followed = follow(_id_of(subscription))
    if followed is None:
        raise PlanError("Your plan is not known at Stripe. Write to us.")
    subscription, found = followed
    if offer.plan_id == subscription.price.plan_id:
        raise PlanError(f"Your team is on {offer.plan.title} already.")
    if found.status not in RUNNING:
        raise PlanError("Your plan is not paid. Pay the open invoice first, then change the plan.")
    if found.is_ending or found.price_id != subscription.price.stripe_id:
        raise PlanError(
            f"Your plan changes with the next period already. Keep"
            f" {subscription.price.plan.title} first, then choose another plan."
        )
    return subscription, found


def _begin(team: Team, user: User, price: PlanPrice, ip_address: str | None) -> Subscription:
    """Returns the row of the team's one open Checkout, made where there is none.

    Raises PlanError where the team has a subscription.
    """
    with transaction.atomic():
        Team.objects.select_for_update(no_key=True).get(pk=team.pk)
        live = live_subscription(team)
        if live is not None:
            raise PlanError(f"Your team is on {live.price.plan.title} already: change that plan.")
        row, is_new = Subscription.objects.select_related("price").get_or_create(
            team=team,
            stripe_id=None,
            ended_at=None,
            defaults={"user": user, "price": price, "is_live": client.is_live()},
        )
        if is_new:
            _record(Actor(team=team, user=user), "plan.ordered", row, None, ip_address)
    return row


def _session_of(row: Subscription, user: User, *, success_url: str, cancel_url: str) -> Session:
    if row.session_id:
        return checkout.get_session(row.session_id)
    try:
        session = checkout.open_subscription(
            row=str(row.pk),
            customer_id=customer_of(row.team, user).stripe_id,
            price_id=_at_stripe(row.price),
            success_url=success_url,
            cancel_url=cancel_url,
        )
    except StripeError:
        # Stripe keeps a failure as the key's answer. A page whose address nobody got is never paid,
        # so the next try may begin anew.
        end_checkout(row)
        raise
    Subscription.objects.filter(pk=row.pk, session_id=None).update(session_id=session.id)
    return session


def _end_session(session: Session) -> Session:
    """Ends an open page; if it was paid meanwhile, it is returned as it is then."""
    try:
        return checkout.expire_session(session.id)
    except StripeRefusedError:
        return checkout.get_session(session.id)


def _record(
    actor: Actor,
    action: str,
    subscription: Subscription,
    price: PlanPrice | None,
    ip_address: str | None,
) -> None:
    """Writes the deed down as soon as Stripe has done it."""
    detail = {"plan": subscription.price.plan.title}
    if price is not None:
        detail |= {"to": price.plan.title, "price": cents_text(price.price_cents)}
    audit.record(actor, action, subscription.price.plan.title, detail=detail, ip_address=ip_address)


def _synced(subscription: Subscription) -> Subscription:
    return sync(_id_of(subscription)) or subscription


def _id_of(subscription: Subscription) -> str:
    if subscription.stripe_id is None:
        raise PlanError("Your plan has not begun yet.")
    return subscription.stripe_id


def _at_stripe(price: PlanPrice) -> str:
    if price.stripe_id is None:  # it has one from the time when it was first sold
        raise PlanError("This plan can't be sold yet.")
    return price.stripe_id
