"""What is shown of a team's plan and of those it can change to."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from accounts.access import Actor
from accounts.models import Plan
from billing.models import CreditAccount, PlanOffer, Subscription
from billing.payments import plans
from billing.payments.subscriptions import live_subscription
from portal.billing import queries

Status = Subscription.Status
LATE = (Status.PAST_DUE, Status.UNPAID, Status.INCOMPLETE)


@dataclass(frozen=True)
class PlanChoice:
    """A plan beside the others: its price in cents (none: free), and the way to it.

    `action` is `subscribe`, `upgrade` or `downgrade`; empty where there is none just now.
    """

    plan: Plan
    price_cents: int
    credit_nanos: int
    credit_days: int
    summary: str
    is_current: bool
    is_next: bool
    action: str


@dataclass(frozen=True)
class PlanPresenter:
    """The team's plan: the one that sets its limits, and the subscription it pays for."""

    plan: Plan
    subscription: Subscription | None
    default: Plan | None
    choices: list[PlanChoice]

    @property
    def is_late(self) -> bool:
        """Whether a payment is late, so that the plan ends unless it comes."""
        return self.subscription is not None and self.subscription.status in LATE

    @property
    def is_unpaid(self) -> bool:
        """Whether the plan has ended for want of a payment, which would bring it back."""
        return self.subscription is not None and self.subscription.status == Status.UNPAID

    @property
    def by_hand(self) -> bool:
        """Whether the team has other limits than its subscription's."""
        found = self.subscription
        return found is not None and found.status == Status.ACTIVE and found.price.plan != self.plan

    @property
    def may_keep(self) -> bool:
        """Whether there is an end or a change to take back."""
        found = self.subscription
        return found is not None and bool(found.cancel_at_period_end or found.next_price)

    @property
    def changes_at(self) -> datetime | None:
        """When the period ends that is paid for."""
        return self.subscription.current_period_end if self.subscription else None


def plan_section(actor: Actor, _account: CreditAccount | None) -> dict[str, Any]:
    """Return `plan`, a PlanPresenter."""
    return {"plan": plan_of(actor)}


def plan_of(actor: Actor) -> PlanPresenter:
    """Return the plan of the actor's team, in three queries."""
    subscription = live_subscription(actor.team)
    default = queries.default_plan()
    choices = [_of_offer(offer, subscription) for offer in plans.offers()]
    if choices and default is not None:
        choices.insert(0, _of_default(default, subscription))
    return PlanPresenter(actor.team.plan, subscription, default, choices)


def _of_default(plan: Plan, subscription: Subscription | None) -> PlanChoice:
    is_next = subscription is not None and subscription.cancel_at_period_end
    summary = _("Included with every team, no subscription.")
    return PlanChoice(plan, 0, 0, 0, summary, subscription is None, is_next, "")


def _of_offer(offer: PlanOffer, subscription: Subscription | None) -> PlanChoice:
    current = subscription.price if subscription else None
    coming = subscription.next_price if subscription else None
    is_current = current is not None and current.plan_id == offer.plan_id
    is_next = coming is not None and coming.plan_id == offer.plan_id
    terms = current if is_current and current is not None else offer
    return PlanChoice(
        offer.plan,
        terms.price_cents,
        terms.credit_nanos,
        terms.credit_days,
        offer.summary,
        is_current,
        is_next,
        "" if is_current or is_next else _action(offer, subscription),
    )


def _action(offer: PlanOffer, subscription: Subscription | None) -> str:
    if subscription is None:
        return "subscribe"
    is_settled = subscription.status == Status.ACTIVE and not subscription.next_price
    if not is_settled or subscription.cancel_at_period_end:
        return ""
    return "upgrade" if offer.price_cents > subscription.price.price_cents else "downgrade"


def cancelled_text(row: Subscription) -> str:
    """Return what a cancelled subscription's member is told."""
    title = row.price.plan.title
    if row.ended_at is None:
        return _("{plan} ends on {day}. Nothing more is charged.").format(
            plan=title, day=_period_end(row)
        )
    return _("{plan} has ended. Nothing more is charged.").format(plan=title)


def changed_text(row: Subscription, offer: PlanOffer) -> str:
    """Return what a member is told whose subscription was changed to the offer."""
    if row.next_price is not None:
        return _("{plan} begins on {day}.").format(plan=offer.plan.title, day=_period_end(row))
    return _("Your team is now on {plan}.").format(plan=offer.plan.title)


def _period_end(row: Subscription) -> str:
    at = row.current_period_end
    return date_format(at, pgettext("date in Django's letters", "j M Y")) if at else ""
