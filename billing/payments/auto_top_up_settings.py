"""What a team wants of auto top-up: below which balance, how much, at most how much a month."""

from dataclasses import asdict, dataclass

from django.db import transaction

from accounts import audit
from accounts.access import Actor
from accounts.models import Team
from billing.models import AutoTopUp, PaymentCustomer
from billing.payments.customers import refresh_card
from billing.payments.orders import OrderError, amount_bounds_cents, require_amount
from billing.pricing.money import NANOS_PER_CENT, NANOS_PER_DOLLAR, dollars_short_text

LEAST_THRESHOLD_NANOS = NANOS_PER_DOLLAR
ORDERS_A_MONTH = 100  # of the largest amount: what a month's limit may allow
_MOST_CENTS = 2**31 - 1  # of the column


@dataclass(frozen=True)
class Wish:
    """The settings as they are typed."""

    is_enabled: bool
    threshold_nanos: int
    amount_cents: int
    monthly_limit_cents: int


class WishError(Exception):
    """Settings that can't be kept. `problems` says what is wrong, by the field's name."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(" ".join(problems.values()))
        self.problems = problems


def problems_of(wish: Wish) -> dict[str, str]:
    """Returns what is wrong with the amounts, by the field's name."""
    problems = {}
    least, most = amount_bounds_cents()
    most_nanos = most * NANOS_PER_CENT
    if not LEAST_THRESHOLD_NANOS <= wish.threshold_nanos <= most_nanos:
        lower, upper = map(dollars_short_text, (LEAST_THRESHOLD_NANOS, most_nanos))
        problems["threshold_nanos"] = f"Choose a balance from ${lower} to ${upper}."
    try:
        require_amount(wish.amount_cents)
    except OrderError as error:
        problems["amount_cents"] = str(error)
    most_a_month = min(most * ORDERS_A_MONTH, _MOST_CENTS)
    if wish.monthly_limit_cents < max(wish.amount_cents, least):
        problems["monthly_limit_cents"] = "The limit must leave room for one top-up at least."
    elif wish.monthly_limit_cents > most_a_month:
        upper = dollars_short_text(most_a_month * NANOS_PER_CENT)
        problems["monthly_limit_cents"] = f"Choose at most ${upper}."
    return problems


def save(actor: Actor, wish: Wish, *, ip_address: str | None = None) -> AutoTopUp:
    """Keeps the settings, and forgets what went wrong before: the owner has seen to it.

    Raises WishError for amounts that won't do and where there is no card to charge, and
    StripeError where Stripe could not be asked for one.
    """
    problems = problems_of(wish)
    if wish.is_enabled and not _has_card(actor.team):
        problems["is_enabled"] = "Leave a card first: a payment keeps the one that you pay with."
    if problems:
        raise WishError(problems)
    with transaction.atomic():
        fields = asdict(wish) | {
            "problem": AutoTopUp.Problem.NONE,
            "problem_at": None,
            "failures": 0,
            "next_attempt_at": None,
        }
        row, _ = AutoTopUp.objects.update_or_create(team=actor.team, defaults=fields)
        audit.record(actor, "auto_top_up.changed", detail=_said(wish), ip_address=ip_address)
    return row


def _has_card(team: Team) -> bool:
    customer = PaymentCustomer.objects.filter(team=team).first()
    if customer is None:
        return False
    return bool(customer.payment_method_id or refresh_card(customer).payment_method_id)


def _said(wish: Wish) -> dict[str, str]:
    """Returns the settings as the audit log says them."""
    if not wish.is_enabled:
        return {"auto_top_up": "off"}
    return {
        "auto_top_up": "on",
        "below": f"${dollars_short_text(wish.threshold_nanos)}",
        "amount": f"${dollars_short_text(wish.amount_cents * NANOS_PER_CENT)}",
        "monthly_limit": f"${dollars_short_text(wish.monthly_limit_cents * NANOS_PER_CENT)}",
    }
