"""Auto top-up: buy credits with the saved card when the balance falls below a threshold.

Each step is written down before the next: the order, the card it charges, the payment. A process
that dies leaves an open order, which the next round resumes. A team has at most one open order of
this kind (a unique constraint), and the order's id is Stripe's idempotency key, so neither two
processes nor a retry ever charge a card twice.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext

from accounts import audit
from accounts.access import Actor
from accounts.formats import dollars_text
from accounts.models import Membership, Team
from billing.errors import (
    CardDeclinedError,
    ReplayedFailureError,
    StripeError,
    StripeRejectedError,
)
from billing.models import AutoTopUp, CreditAccount, Order, PaymentCustomer
from billing.payments import orders
from billing.payments.auto_top_up_outcome import OWNER_ACTION_PROBLEMS
from billing.payments.customers import refresh_card
from billing.pricing.money import NANOS_PER_CENT, NANOS_PER_DOLLAR, dollars_short_text
from billing.stripe_api import payments
from billing.stripe_api.objects import PaymentIntent
from billing.stripe_settings import is_live

log = structlog.get_logger(__name__)

Problem = AutoTopUp.Problem

MIN_THRESHOLD_NANOS = NANOS_PER_DOLLAR
MAX_ORDERS_A_MONTH = 100  # of the largest amount: the highest monthly limit
_MAX_COLUMN_CENTS = 2**31 - 1

# How long a process may work on a team, including calls to Stripe and their retries.
LEASE = timedelta(minutes=1)
# How long an order is charged with the same idempotency key. Stripe may forget keys after 24 hours:
# long before that, the payment is looked up instead.
CHARGE_PERIOD = timedelta(hours=1)
# The last charge call has ended by then, so a payment that Stripe does not list does not exist.
LOOKUP_AFTER = CHARGE_PERIOD + timedelta(minutes=5)
MAX_CLOCK_SKEW = timedelta(hours=1)  # between our clock and Stripe's


@dataclass(frozen=True)
class AutoTopUpSettings:
    """A team's settings, as submitted."""

    is_enabled: bool
    threshold_nanos: int
    amount_cents: int
    monthly_limit_cents: int


class AutoTopUpSettingsError(Exception):
    """Invalid settings. `errors` are messages for the customer by field name."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__(" ".join(errors.values()))
        self.errors = errors


def save_settings(
    actor: Actor, settings: AutoTopUpSettings, *, ip_address: str | None = None
) -> AutoTopUp:
    """Save the settings, and clear earlier problems: the owner has dealt with them.

    Raise AutoTopUpSettingsError for invalid amounts and for a missing card, and StripeError if
    Stripe can't be asked for the card.
    """
    errors = _amount_errors(settings)
    if settings.is_enabled and not _has_card(actor.team):
        errors["is_enabled"] = gettext("Add a card first. A payment saves the card you pay with.")
    if errors:
        raise AutoTopUpSettingsError(errors)
    with transaction.atomic():
        fields = asdict(settings) | {
            "problem": Problem.NONE,
            "problem_at": None,
            "failures": 0,
            "next_attempt_at": None,
        }
        row, _ = AutoTopUp.objects.update_or_create(team=actor.team, defaults=fields)
        detail = _audit_detail(settings)
        audit.record(actor, "auto_top_up.changed", detail=detail, ip_address=ip_address)
    return row


def due_teams(row_limit: int = 500) -> list[int]:
    """Return the ids of teams that are low and may buy, and of those with an open order."""
    unleased = _unleased(timezone.now())
    open_orders = Order.objects.filter(origin=Order.Origin.AUTO_TOP_UP, state=Order.State.OPEN)
    to_resume = unleased.filter(team__in=open_orders.values("team"))
    low = (
        unleased.filter(is_enabled=True, team__suspended_at=None)
        .filter(Exists(Membership.objects.filter(team=OuterRef("team"), user__is_active=True)))
        .exclude(problem__in=OWNER_ACTION_PROBLEMS)
        .filter(
            team__credit_account__posted_nanos__lt=F("threshold_nanos")
            + F("team__credit_account__held_nanos")
        )
    )
    found = [*to_resume.values_list("pk", flat=True), *low.values_list("pk", flat=True)[:row_limit]]
    return list(dict.fromkeys(found))


def top_up(team_id: int) -> Order | None:
    """Buy credits for a team that is low, or resume its open order.

    Return the order's current state, or None if there is nothing to do or another process does it.
    Raise StripeError if Stripe gives no answer, and PaymentMismatchError as `orders.confirm` does;
    the order then stays open for another round.
    """
    order = _claim(team_id)
    return _pay(order) if order is not None else None


def bought_this_month_cents(team: Team, now: datetime) -> int:
    """Return the cents that auto top-up has bought, or is buying, in the calendar month (UTC)."""
    bought = Order.objects.filter(
        team=team,
        origin=Order.Origin.AUTO_TOP_UP,
        state__in=[Order.State.PAID, Order.State.OPEN],
        created_at__gte=_start_of_month(now),
    )
    return bought.aggregate(cents=Sum("amount_cents"))["cents"] or 0


def _amount_errors(settings: AutoTopUpSettings) -> dict[str, str]:
    """Return messages for invalid amounts, by field name."""
    errors = {}
    least, most = orders.amount_bounds_cents()
    most_nanos = most * NANOS_PER_CENT
    if not MIN_THRESHOLD_NANOS <= settings.threshold_nanos <= most_nanos:
        lower, upper = map(_dollars, (MIN_THRESHOLD_NANOS, most_nanos))
        text = gettext("Choose a balance from {least} to {most}.")
        errors["threshold_nanos"] = text.format(least=lower, most=upper)
    try:
        orders.require_amount(settings.amount_cents)
    except orders.OrderError as error:
        errors["amount_cents"] = str(error)
    max_limit_cents = min(most * MAX_ORDERS_A_MONTH, _MAX_COLUMN_CENTS)
    if settings.monthly_limit_cents < max(settings.amount_cents, least):
        errors["monthly_limit_cents"] = gettext("The limit must allow at least one top-up.")
    elif settings.monthly_limit_cents > max_limit_cents:
        upper = _dollars(max_limit_cents * NANOS_PER_CENT)
        errors["monthly_limit_cents"] = gettext("Choose at most {most}.").format(most=upper)
    return errors


def _dollars(amount_nanos: int) -> str:
    return dollars_text(f"${dollars_short_text(amount_nanos)}")


def _has_card(team: Team) -> bool:
    customer = PaymentCustomer.objects.filter(team=team).first()
    if customer is None:
        return False
    return bool(customer.payment_method_id or refresh_card(customer).payment_method_id)


def _audit_detail(settings: AutoTopUpSettings) -> dict[str, str]:
    if not settings.is_enabled:
        return {"auto_top_up": "off"}
    return {
        "auto_top_up": "on",
        "below": f"${dollars_short_text(settings.threshold_nanos)}",
        "amount": f"${dollars_short_text(settings.amount_cents * NANOS_PER_CENT)}",
        "monthly_limit": f"${dollars_short_text(settings.monthly_limit_cents * NANOS_PER_CENT)}",
    }


def _claim(team_id: int) -> Order | None:
    """Lease a team, and return its open order, or a new one if it is due for one."""
    now = timezone.now()
    with transaction.atomic():
        row = (
            _unleased(now)
            .filter(pk=team_id)
            .select_related("team")
            .select_for_update(of=("self",), skip_locked=True)
            .first()
        )
        if row is None:
            return None
        order = Order.objects.filter(
            team=team_id, origin=Order.Origin.AUTO_TOP_UP, state=Order.State.OPEN
        ).first()
        order = order or _create_order(row, now)
        if order is not None:
            row.next_attempt_at = now + LEASE
            row.save()
        return order


def _create_order(row: AutoTopUp, now: datetime) -> Order | None:
    """Create an order if the team is low and may buy. The caller holds the row's lock."""
    if not _may_charge(row) or row.problem in OWNER_ACTION_PROBLEMS:
        return None
    account = CreditAccount.objects.filter(team=row.team_id).first()
    if account is None or account.available_nanos >= row.threshold_nanos:
        return None
    bought = bought_this_month_cents(row.team, now)
    if bought + row.amount_cents > row.monthly_limit_cents:
        row.problem, row.problem_at = Problem.MONTHLY_LIMIT, now
        row.next_attempt_at = _start_of_month(_start_of_month(now) + timedelta(days=32))
        row.save()
        return None
    return Order.objects.create(
        team=row.team,
        origin=Order.Origin.AUTO_TOP_UP,
        amount_cents=row.amount_cents,
        credit_nanos=row.amount_cents * NANOS_PER_CENT,
        is_live=is_live(),
    )


def _pay(order: Order) -> Order:
    """Advance an open order from whatever step it has reached."""
    if order.payment_intent_id:
        return _confirm(order, payments.get_payment_intent(order.payment_intent_id))
    row = AutoTopUp.objects.select_related("team").get(pk=order.team_id)
    age = timezone.now() - order.created_at
    if age > CHARGE_PERIOD or not _may_charge(row):
        return order if CHARGE_PERIOD < age < LOOKUP_AFTER else _look_up_payment(order)
    customer = PaymentCustomer.objects.filter(team=order.team_id).first()
    order = _choose_card(order, customer)
    if customer is None or order.state != Order.State.OPEN:
        return order
    try:
        intent = payments.charge_card(
            order_id=str(order.pk),
            customer_id=customer.stripe_id,
            payment_method_id=order.payment_method_id,
            amount_cents=order.amount_cents,
            title="API credits, auto top-up",
        )
    except CardDeclinedError as error:
        if not error.payment_intent_id:
            problem = Problem.AUTHENTICATION if error.needs_authentication else Problem.DECLINED
            return orders.fail(order, str(error), problem)
        intent = payments.get_payment_intent(error.payment_intent_id)
    except ReplayedFailureError:
        return _look_up_payment(order)
    except StripeRejectedError as error:
        log.warning("auto_top_up_rejected", order=order.number, error=str(error))
        return orders.fail(order, str(error), Problem.DECLINED)
    return _confirm(order, intent)


def _choose_card(order: Order, customer: PaymentCustomer | None) -> Order:
    """Store which card the order charges, since a retry must send the same parameters.

    Fail the order if there is no card.
    """
    if order.payment_method_id:
        return order
    card = refresh_card(customer).payment_method_id if customer is not None else ""
    if not card:
        return orders.fail(order, "No card to charge.", Problem.NO_CARD)
    Order.objects.filter(pk=order.pk, payment_method_id="").update(payment_method_id=card)
    order.refresh_from_db()
    return order


def _look_up_payment(order: Order) -> Order:
    """Close an order that must not, or can't, be charged again, by its payment at Stripe if any."""
    customer = PaymentCustomer.objects.filter(team=order.team_id).first()
    if customer is not None:
        listed = payments.payments_of(customer.stripe_id, order.created_at - MAX_CLOCK_SKEW)
        for intent in listed:
            if intent.order_id == str(order.pk):
                return _confirm(order, intent)
    return orders.fail(order, "Stripe could not be reached in time.", Problem.NONE)


def _confirm(order: Order, intent: PaymentIntent) -> Order:
    """Confirm an order by its payment, and cancel a payment that failed.

    The order is closed first, since a canceled payment no longer says why the card was declined.
    """
    Order.objects.filter(pk=order.pk, payment_intent_id=None).update(payment_intent_id=intent.id)
    order.payment_intent_id = intent.id
    order = orders.confirm_payment(order, intent)
    if order.state == Order.State.FAILED and intent.status != "canceled":
        with suppress(StripeError):
            payments.cancel_payment_intent(intent.id)
    return order


def _unleased(now: datetime) -> QuerySet[AutoTopUp]:
    return AutoTopUp.objects.filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=now))


def _may_charge(row: AutoTopUp) -> bool:
    """Tell whether the team's card may be charged: not while suspended or without members."""
    if not row.is_enabled or row.team.suspended_at is not None:
        return False
    return Membership.objects.filter(team=row.team_id, user__is_active=True).exists()


def _start_of_month(now: datetime) -> datetime:
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
