"""Prices of plans, subscriptions to them, and their payments."""

import uuid

from django.db import models
from django.utils import timezone

from accounts.models import Plan, Team, User

MIN_PRICE_CENTS = 50  # https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts


class PlanOffer(models.Model):
    """A plan's current price, monthly, with credits that expire. Plans without one can't be bought.

    The default plan needs no offer: every team without a subscription has it.
    """

    plan = models.OneToOneField(
        Plan, on_delete=models.PROTECT, primary_key=True, related_name="offer"
    )
    price_cents = models.PositiveIntegerField(help_text="Per month, before tax.")
    credit_nanos = models.BigIntegerField(default=0, help_text="Granted with each payment.")
    credit_days = models.PositiveSmallIntegerField(default=31, help_text="Until they expire.")
    summary = models.CharField(max_length=200, blank=True)
    is_offered = models.BooleanField(
        default=True, help_text="Clear to stop selling it to new subscribers."
    )
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "price_cents"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(price_cents__gt=0, credit_nanos__gte=0, credit_days__gt=0),
                name="offer_amounts",
            )
        ]

    def __str__(self) -> str:
        return f"{self.plan}: {self.price_cents} cents a month"


class PlanPrice(models.Model):
    """The terms a plan was sold at. Subscribers keep theirs when the offer changes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="prices")
    price_cents = models.PositiveIntegerField(help_text="Per month, before tax.")
    credit_nanos = models.BigIntegerField(help_text="Granted with each payment.")
    credit_days = models.PositiveSmallIntegerField(help_text="Until they expire.")
    is_live = models.BooleanField(help_text="Stripe's live mode: the money is real.")
    stripe_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["plan", "price_cents", "credit_nanos", "credit_days", "is_live"],
                name="planprice_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.plan}: {self.price_cents} cents a month"


class Subscription(models.Model):
    """A team's monthly plan. The row is created first, Stripe's subscription by its Checkout."""

    class Status(models.TextChoices):
        """Stripe's statuses, and `started` until there is one."""

        STARTED = "started"
        INCOMPLETE = "incomplete"
        INCOMPLETE_EXPIRED = "incomplete_expired"
        TRIALING = "trialing"
        ACTIVE = "active"
        PAST_DUE = "past_due"
        UNPAID = "unpaid"
        PAUSED = "paused"
        CANCELED = "canceled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="subscriptions")
    user = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    price = models.ForeignKey(PlanPrice, on_delete=models.PROTECT, related_name="+")
    next_price = models.ForeignKey(
        PlanPrice,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="The price after a downgrade, from the next period on.",
    )
    is_live = models.BooleanField(help_text="Stripe's live mode: the money is real.")
    session_id = models.CharField(max_length=100, null=True, blank=True, unique=True)
    stripe_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    status = models.CharField(max_length=20, choices=Status, default=Status.STARTED)
    current_period_end = models.DateTimeField(null=True, blank=True)
    cancel_at_period_end = models.BooleanField(default=False)
    latest_invoice_id = models.CharField(max_length=64, blank=True)
    is_duplicate = models.BooleanField(
        default=False, help_text="A second subscription of the team, cancelled at once."
    )
    revision = models.PositiveIntegerField(
        default=0, editable=False, help_text="Counts changes, so that stale data is detected."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team"],
                condition=models.Q(stripe_id__isnull=False, ended_at__isnull=True),
                name="subscription_one_a_team",
            ),
            models.UniqueConstraint(
                fields=["team"],
                condition=models.Q(stripe_id__isnull=True, ended_at__isnull=True),
                name="subscription_one_checkout",
            ),
        ]
        indexes = [models.Index(fields=["team", "-created_at"], name="subscription_by_team")]

    def __str__(self) -> str:
        return f"{self.team} on {self.price.plan}: {self.status}"


class SubscriptionPayment(models.Model):
    """A paid invoice of a subscription, and the credits that were granted for it."""

    invoice_id = models.CharField(max_length=64, primary_key=True)
    subscription = models.ForeignKey(
        Subscription, on_delete=models.PROTECT, related_name="payments"
    )
    amount_cents = models.PositiveIntegerField(help_text="As charged, with tax.")
    tax_cents = models.PositiveIntegerField(
        null=True, help_text="Included in the amount. Empty where it was not kept, before 2026-12."
    )
    credit_nanos = models.BigIntegerField(default=0)
    payment_intent_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    charge_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    paid_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.invoice_id}: {self.amount_cents} cents"


class PlanRefund(models.Model):
    """A refund of a plan's payment, made in Stripe's dashboard, and what it took back."""

    class State(models.TextChoices):
        """Stripe's status; the money of a failed or canceled refund has been returned."""

        PENDING = "pending"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"

    UNSUCCESSFUL_STATES = (State.FAILED, State.CANCELED)

    stripe_id = models.CharField(max_length=64, primary_key=True)
    payment = models.ForeignKey(
        SubscriptionPayment, on_delete=models.PROTECT, related_name="refunds"
    )
    amount_cents = models.PositiveIntegerField(help_text="As charged, with tax.")
    revenue_nanos = models.BigIntegerField(help_text="Moved out of revenue: without tax.")
    credit_nanos = models.BigIntegerField(help_text="Granted credits taken back or owed.")
    owed_nanos = models.BigIntegerField(help_text="Of these already spent, so owed by the team.")
    collected_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(owed_nanos__gt=0, collected_at__isnull=True),
                name="plan_refund_owed",
            )
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id} of {self.payment_id}: {self.state}"
