"""Auto top-up: below a balance, credits are bought by a kept card, its owner being away.

Every step is written down before the next one: the order, the card that it charges, the payment.
Whoever dies leaves an open order, which the next round takes up where it stands. A team has one
open order of this kind at most (a unique constraint), and the order's id is Stripe's idempotency
key, so that no two processes and no repeat ever charge a card twice.
"""

from contextlib import suppress
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from accounts.models import Membership, Team
from billing.models import AutoTopUp, CreditAccount, Order, PaymentCustomer
from billing.payments import orders
from billing.payments.auto_top_up_outcomes import WAITING_FOR_OWNER
from billing.payments.customers import refresh_card
from billing.pricing.money import NANOS_PER_CENT
from billing.stripe_api import client, payments
from billing.stripe_api.client import (
    CardRefusedError,
    FailureKeptError,
    StripeError,
    StripeRefusedError,
)
from billing.stripe_api.objects import PaymentIntent

log = structlog.get_logger(__name__)

Problem = AutoTopUp.Problem

# Who takes a team up has it for so long, calls to Stripe and their repeats included.
LEASE = timedelta(minutes=1)
# For so long an order is charged with the same idempotency key. Stripe forgets keys after a day:
# long before, it is asked what came of the order instead.
ASKING = timedelta(hours=1)
# The last call is over by then, so that what Stripe does not list will never be.
LOOKING = ASKING + timedelta(minutes=5)
# How far our clock and Stripe's may be apart.
CLOCK_SKEW = timedelta(hours=1)


def due_teams(row_limit: int = 500) -> list[int]:
    """Returns the ids of teams that run low and may buy, and of those whose order is open still."""
    free = _free_now(timezone.now())
    open_orders = Order.objects.filter(origin=Order.Origin.AUTO_TOP_UP, state=Order.State.OPEN)
    begun = free.filter(team__in=open_orders.values("team"))
    low = (
        free.filter(is_enabled=True, team__suspended_at=None)
        .filter(Exists(Membership.objects.filter(team=OuterRef("team"), user__is_active=True)))
        .exclude(problem__in=WAITING_FOR_OWNER)
        .filter(
            team__credit_account__posted_nanos__lt=F("threshold_nanos")
            + F("team__credit_account__held_nanos")
        )
    )
    found = [*begun.values_list("pk", flat=True), *low.values_list("pk", flat=True)[:row_limit]]
    return list(dict.fromkeys(found))


def top_up(team_id: int) -> Order | None:
    """Buys credits for a team that runs low, or goes on with the order that is open.

    Returns the order as it is then; None: there is nothing to do, or another process does it.
    Raises StripeError where Stripe gives no answer, and PaymentMismatchError as orders.confirm
    does; the order stays open then, for another round.
    """
    order = _claim(team_id)
    return _pay(order) if order is not None else None


def bought_this_month_cents(team: Team, now: datetime) -> int:
    """Returns what auto top-up has bought in the calendar month of `now` (UTC), or is buying."""
    bought = Order.objects.filter(
        team=team,
        origin=Order.Origin.AUTO_TOP_UP,
        state__in=[Order.State.PAID, Order.State.OPEN],
        created_at__gte=_month_of(now),
    )
    return bought.aggregate(cents=Sum("amount_cents"))["cents"] or 0


def _claim(team_id: int) -> Order | None:
    """Takes a team up: returns its open order, or one that is made now if it is to have one."""
    now = timezone.now()
    with transaction.atomic():
        row = (
            _free_now(now)
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
        order = order or _new_order(row, now)
        if order is not None:
            row.next_attempt_at = now + LEASE
            row.save()
        return order


def _new_order(row: AutoTopUp, now: datetime) -> Order | None:
    """Makes an order, if the team runs low and may buy. The caller has the row's lock."""
    if not _may_charge(row) or row.problem in WAITING_FOR_OWNER:
        return None
    account = CreditAccount.objects.filter(team=row.team_id).first()
    if account is None or account.available_nanos >= row.threshold_nanos:
        return None
    bought = bought_this_month_cents(row.team, now)
    if bought + row.amount_cents > row.monthly_limit_cents:
        row.problem, row.problem_at = Problem.MONTHLY_LIMIT, now
        row.next_attempt_at = _month_of(_month_of(now) + timedelta(days=32))
        row.save()
        return None
    return Order.objects.create(
        team=row.team,
        origin=Order.Origin.AUTO_TOP_UP,
        amount_cents=row.amount_cents,
        credit_nanos=row.amount_cents * NANOS_PER_CENT,
        is_live=client.is_live(),
    )


def _pay(order: Order) -> Order:
    """Takes an open order a step further, from wherever it stands."""
    if order.payment_intent_id:
        return _conclude(order, payments.get_payment_intent(order.payment_intent_id))
    row = AutoTopUp.objects.select_related("team").get(pk=order.team_id)
    age = timezone.now() - order.created_at
    if age > ASKING or not _may_charge(row):
        return order if ASKING < age < LOOKING else _look(order)
    customer = PaymentCustomer.objects.filter(team=order.team_id).first()
    order = _choose_card(order, customer)
    if customer is None or order.state != Order.State.OPEN:
        return order
    try:
        intent = payments.charge_card(
            order=str(order.pk),
            customer_id=customer.stripe_id,
            payment_method_id=order.payment_method_id,
            amount_cents=order.amount_cents,
            title="API credits, auto top-up",
        )
    except CardRefusedError as error:
        if not error.payment_intent_id:
            problem = Problem.AUTHENTICATION if error.needs_authentication else Problem.DECLINED
            return orders.fail(order, str(error), problem)
        intent = payments.get_payment_intent(error.payment_intent_id)
    except FailureKeptError:
        return _look(order)
    except StripeRefusedError as error:
        log.warning("auto_top_up_refused", order=order.number, error=str(error))
        return orders.fail(order, str(error), Problem.DECLINED)
    return _conclude(order, intent)


def _choose_card(order: Order, customer: PaymentCustomer | None) -> Order:
    """Writes down which card the order charges: a repeat must say the same, whatever changed.

    Without a card the order has failed.
    """
    if order.payment_method_id:
        return order
    card = refresh_card(customer).payment_method_id if customer is not None else ""
    if not card:
        return orders.fail(order, "There is no card to charge.", Problem.NO_CARD)
    Order.objects.filter(pk=order.pk, payment_method_id="").update(payment_method_id=card)
    order.refresh_from_db()
    return order


def _look(order: Order) -> Order:
    """Asks Stripe what came of an order whose card must not be charged any more, or can't be."""
    customer = PaymentCustomer.objects.filter(team=order.team_id).first()
    if customer is not None:
        begun = payments.payments_of(customer.stripe_id, order.created_at - CLOCK_SKEW)
        for intent in begun:
            if intent.order == str(order.pk):
                return _conclude(order, intent)
    return orders.fail(order, "Stripe was not reached in time.", Problem.NONE)


def _conclude(order: Order, intent: PaymentIntent) -> Order:
    """Confirms an order by its payment; one that took no money never will.

    The order ends first, since cancelling lets Stripe forget why the card was refused.
    """
    Order.objects.filter(pk=order.pk, payment_intent_id=None).update(payment_intent_id=intent.id)
    order.payment_intent_id = intent.id
    order = orders.confirm_payment(order, intent)
    if order.state == Order.State.FAILED and intent.status != "canceled":
        with suppress(StripeError):
            payments.cancel_payment_intent(intent.id)
    return order


def _free_now(now: datetime) -> QuerySet[AutoTopUp]:
    return AutoTopUp.objects.filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=now))


def _may_charge(row: AutoTopUp) -> bool:
    """Tells whether the team's card may be charged; that of a team without members never is."""
    if not row.is_enabled or row.team.suspended_at is not None:
        return False
    return Membership.objects.filter(team=row.team_id, user__is_active=True).exists()


def _month_of(now: datetime) -> datetime:
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
