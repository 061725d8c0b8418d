"""What the billing page shows.

The page is composed of sections. A section is a template `billing/_<name>.html` and a function that
returns its part of the template's context.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.access import Actor
from api.catalogue.contracts import open_contracts
from billing.models import AutoTopUp, CodeRedemption, CreditAccount, PaymentCustomer
from billing.payments import promotions
from billing.payments.auto_top_up import bought_this_month_cents
from billing.payments.auto_top_up_outcome import DECLINE_RETRY_DELAYS, OWNER_ACTION_PROBLEMS
from billing.usage.lots import Lot, lots_left
from portal.billing import queries
from portal.billing.forms import AutoTopUpForm, CodeForm, TopUpForm
from portal.billing.presenters.orders import orders_section, payment_mode
from portal.billing.presenters.plans import plan_section
from portal.ui.money import dollars

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


def contracts_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `contracts`, the contract prices that apply or will, not those that wait."""
    return {"contracts": [each for each in open_contracts(actor.team) if each.phase != "pending"]}


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


def transactions_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Return `transactions`: transfers, each with the nano-dollars it added to the balance."""
    if account is None:
        return {"transactions": []}
    return {
        "transactions": [
            (row, row.amount_nanos if row.credit_account_id == account.pk else -row.amount_nanos)
            for row in queries.latest_transfers(account)
        ]
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


Section = Callable[[Actor, CreditAccount | None], dict[str, Any]]

# The names in each section's context begin with the section's own.
SECTIONS: tuple[Section, ...] = (
    balance_section,
    contracts_section,
    top_up_section,
    plan_section,
    card_section,
    orders_section,
    transactions_section,
    auto_top_up_section,
    code_section,
    referral_section,
)


def page_context(actor: Actor) -> dict[str, Any]:
    """Return the context of the billing page, from the database alone."""
    actor = replace(actor, team=queries.team_for_billing(actor.team))
    account = getattr(actor.team, "credit_account", None)
    context = {"account": account, **payment_mode()}
    for section in SECTIONS:
        context |= section(actor, account)
    return context


def redeemed_text(redemption: CodeRedemption) -> str:
    """Return what a member is told who has redeemed a promotional code."""
    text = _("{amount} were added to your balance.").format(
        amount=dollars(redemption.code.amount_nanos)
    )
    if days := redemption.code.credit_days:
        expiry = ngettext(
            "Any unused part expires in {days} day.",
            "Any unused part expires in {days} days.",
            days,
        )
        text += " " + expiry.format(days=days)
    return text
