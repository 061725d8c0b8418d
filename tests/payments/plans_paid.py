"""A plan's payment, as our rows have it once its invoice was handled."""

from datetime import timedelta

from django.utils import timezone

from accounts.models import Plan, Team
from billing.ledger import postings
from billing.models import PlanPrice, Subscription, SubscriptionPayment
from tests.payments.conftest import StripeStandIn


def plan_payment(
    stand_in: StripeStandIn, team: Team, credit_nanos: int, days: int = 31
) -> tuple[str, SubscriptionPayment]:
    """Return the charge of a plan's payment, and our row of it; its credits are granted."""
    intent = stand_in.web.post(
        f"{stand_in.url}/v1/payment_intents",
        headers={"authorization": "Bearer sk_test"},
        data={"amount": "2000", "confirm": "true", "payment_method": "pm_card_visa"},
    ).json()
    plan = Plan.objects.create(name="pro", title="Pro")
    price = PlanPrice.objects.create(
        plan=plan, price_cents=2000, credit_nanos=credit_nanos, credit_days=31, is_live=False
    )
    subscription = Subscription.objects.create(team=team, price=price, is_live=False)
    payment = SubscriptionPayment.objects.create(
        invoice_id="in_1",
        subscription=subscription,
        amount_cents=2000,
        tax_cents=0,
        credit_nanos=credit_nanos,
        payment_intent_id=intent["id"],
        charge_id=intent["latest_charge"],
    )
    postings.book_subscription(20 * 10**9, reference=payment.invoice_id)
    postings.grant(
        postings.open_account(team),
        credit_nanos,
        reference=f"subscription:{payment.invoice_id}",
        expires_at=timezone.now() + timedelta(days=days),
    )
    return intent["latest_charge"], payment
