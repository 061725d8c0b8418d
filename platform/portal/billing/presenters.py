"""The content of the billing page's sections."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from accounts.access import Actor
from accounts.models import Plan
from billing.models import AutoTopUp, CreditAccount, PaymentCustomer, PlanOffer, Subscription
from billing.payments import plans, promotions
from billing.payments.auto_top_up import bought_this_month_cents
from billing.payments.auto_top_up_outcome import DECLINE_RETRY_DELAYS, OWNER_ACTION_PROBLEMS
from billing.payments.subscriptions import live_subscription
from billing.usage.lots import Lot, lots_left
from portal.billing.forms import AutoTopUpForm, CodeForm, TopUpForm

MOST_PARTS = 6


@dataclass(frozen=True)
class BalancePart:
    """Credits of one kind that expire together, or never: what is left of them, nano-dollars."""

    left_nanos: int
    is_paid: bool
    expires_at: datetime | None
    memo: str = ""


@dataclass(frozen=True)
class Composition:
    """The booked balance as the sum of its parts, in the order in which they are spent.

    `later_nanos` are grants that expire after those shown, of which there are too many.
    """

    parts: list[BalancePart]
    later_nanos: int
    posted_nanos: int

    @property
    def has_paid(self) -> bool:
        """Whether some of it was bought."""
        return any(part.is_paid for part in self.parts)

    @property
    def next(self) -> BalancePart | None:
        """The part that pays for the next request."""
        return self.parts[0] if self.parts else None


def balance_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `balance`, the account's composition."""
    return {"balance": composition_of(lots_left(account) if account is not None else [])}


def composition_of(lots: list[Lot]) -> Composition:
    """Return the composition of lots that come in the order in which they are spent."""
    parts = [
        _balance_part(list(group))
        for _, group in groupby(lots, key=lambda lot: (lot.is_paid, lot.expires_at))
    ]
    granted = [part for part in parts if not part.is_paid]
    shown = [*granted[:MOST_PARTS], *(part for part in parts if part.is_paid)]
    return Composition(
        parts=shown,
        later_nanos=sum(part.left_nanos for part in granted[MOST_PARTS:]),
        posted_nanos=sum(part.left_nanos for part in parts),
    )


def _balance_part(lots: list[Lot]) -> BalancePart:
    return BalancePart(
        left_nanos=sum(lot.left_nanos for lot in lots),
        is_paid=lots[0].is_paid,
        expires_at=lots[0].expires_at,
        memo=lots[0].memo if len(lots) == 1 else "",
    )


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
    default = Plan.objects.filter(is_default=True).first()
    choices = [_of_offer(offer, subscription) for offer in plans.offers()]
    if choices and default is not None:
        choices.insert(0, _of_default(default, subscription))
    return PlanPresenter(actor.team.plan, subscription, default, choices)


def _of_default(plan: Plan, subscription: Subscription | None) -> PlanChoice:
    is_next = subscription is not None and subscription.cancel_at_period_end
    summary = "For every team, without a subscription."
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


_BRANDS = {
    "amex": "American Express",
    "diners": "Diners Club",
    "jcb": "JCB",
    "mastercard": "Mastercard",
    "unionpay": "UnionPay",
}


def card_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `card_name`, such as `Visa •••• 4242`; empty where there is none."""
    return {"card_name": card_name(getattr(actor.team, "payment_customer", None))}


def card_name(customer: PaymentCustomer | None) -> str:
    """Return the card as people know it; empty where there is none."""
    if customer is None or not customer.payment_method_id:
        return ""
    brand = _BRANDS.get(customer.card_brand, customer.card_brand.title())
    return f"{brand} •••• {customer.card_last_four}"


def auto_top_up_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `auto_top_up` (the row), its form, and the id of an order that would mend it."""
    row: AutoTopUp | None = getattr(actor.team, "auto_top_up", None)
    is_on = row is not None and row.is_enabled
    return {
        "auto_top_up": row,
        "auto_top_up_form": AutoTopUpForm.of(row),
        "auto_top_up_waits": is_on and row is not None and row.problem in OWNER_ACTION_PROBLEMS,
        "auto_top_up_bought_cents": bought_this_month_cents(actor.team, timezone.now())
        if is_on
        else 0,
        "auto_top_up_attempts": len(DECLINE_RETRY_DELAYS) + 1,
        "auto_top_up_order_id": uuid.uuid4(),
    }


def code_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `code_form`."""
    return {"code_form": CodeForm()}


def top_up_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `top_up_form` and `top_up_order_id`, the order that this form creates."""
    return {
        "top_up_form": TopUpForm(),
        "top_up_order_id": uuid.uuid4(),
        "top_up_is_taxed": settings.STRIPE_TAX,
    }


def referral_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `referral_url`, and what it brings; nothing where there are no referrals."""
    amount_nanos = promotions.referral_credit_nanos()
    if amount_nanos == 0:
        return {"referral_url": ""}
    path = reverse("referral", args=[promotions.get_or_create_referral_link(actor.team).code])
    return {
        "referral_url": settings.BASE_URL.rstrip("/") + path,
        "referral_nanos": amount_nanos,
        "referral_wait_days": settings.REFERRAL_WAIT_DAYS,
        "referral_count": promotions.rewarded_referral_count(actor.team),
    }
