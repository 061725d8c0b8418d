"""Billing's events for customers' webhooks: payments and low balances."""

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from accounts.models import WebhookEndpoint
from accounts.webhooks.events import EventType, publish, publish_to
from billing.models import CreditAccount, Order, Subscription, SubscriptionPayment, Transfer
from billing.pricing.money import NANOS_PER_CENT, dollars_text


def publish_order_paid(order: Order) -> None:
    """Publish that an order was paid and credited. Call it in that transaction."""
    data = _order_data(order) | {"tax_usd": _usd(order.tax_cents)}
    publish(order.team_id, EventType.PAYMENT_SUCCEEDED, data)


def publish_order_failed(order: Order, reason: str) -> None:
    """Publish that an order's payment failed. Call it in the transaction that closes it."""
    publish(order.team_id, EventType.PAYMENT_FAILED, _order_data(order) | {"reason": reason})


def publish_plan_paid(payment: SubscriptionPayment) -> None:
    """Publish that a period of a plan was paid. Call it in the transaction that books it."""
    row, tax_cents = payment.subscription, payment.tax_cents or 0
    data = _plan_data(row, payment.amount_cents - tax_cents) | {
        "tax_usd": _usd(tax_cents),
        "credit_usd": dollars_text(payment.credit_nanos),
    }
    publish(row.team_id, EventType.PAYMENT_SUCCEEDED, data)


def publish_plan_unpaid(row: Subscription) -> None:
    """Publish that a plan's payment failed: once for each invoice."""
    publish(
        row.team_id,
        EventType.PAYMENT_FAILED,
        _plan_data(row, row.price.price_cents),
        reference=f"invoice {row.latest_invoice_id}",
    )


def publish_low_balances() -> int:
    """Publish the balances that fell below endpoints' thresholds. Return the number of events.

    It is the posted balance, as for emails: a request's hold is mostly given back. An endpoint is
    notified again only after the balance was above its threshold. A balance that nothing was ever
    taken from is not low, but new.
    """
    rows = WebhookEndpoint.objects.annotate(posted=F("team__credit_account__posted_nanos"))
    rows.filter(is_balance_low=True, posted__gte=F("low_balance_nanos")).update(
        is_balance_low=False
    )
    account = OuterRef("team__credit_account__pk")
    sequence = OuterRef("team__credit_account__last_sequence")
    last = Transfer.objects.filter(customer=account, sequence=sequence, debit_account=account)
    fallen = rows.filter(
        Exists(last),
        disabled_at__isnull=True,
        is_balance_low=False,
        posted__lt=F("low_balance_nanos"),
    )
    return sum(map(_publish_low_balance, fallen.order_by("pk")))


def _publish_low_balance(endpoint: WebhookEndpoint) -> bool:
    with transaction.atomic():
        armed = WebhookEndpoint.objects.filter(pk=endpoint.pk, is_balance_low=False)
        if not armed.update(is_balance_low=True):
            return False
        if endpoint.events and EventType.BALANCE_LOW not in endpoint.events:
            return False
        account = CreditAccount.objects.get(team=endpoint.team_id)
        data = {
            "balance_usd": dollars_text(account.posted_nanos),
            "threshold_usd": dollars_text(endpoint.low_balance_nanos),
        }
        publish_to([endpoint], EventType.BALANCE_LOW, data)
    return True


def _order_data(order: Order) -> dict[str, object]:
    return {
        "object": "order",
        "order": order.number,
        "origin": str(order.origin),
        "amount_usd": _usd(order.amount_cents),
        "credit_usd": dollars_text(order.credit_nanos),
    }


def _plan_data(row: Subscription, amount_cents: int) -> dict[str, object]:
    return {"object": "plan", "plan": row.price.plan.title, "amount_usd": _usd(amount_cents)}


def _usd(amount_cents: int) -> str:
    return dollars_text(amount_cents * NANOS_PER_CENT)
