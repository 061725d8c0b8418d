"""Orders of credits, refunds, disputes, fraud warnings, and the inbox of Stripe's events.

Cents are US cents. A row is written before Stripe is called, and its id is the idempotency key of
the call, so a retry after any failure never pays twice.
"""

import uuid

from django.db import models
from django.utils import timezone

from accounts.models import Team, User
from billing.models.plans import SubscriptionPayment


class PaymentCustomer(models.Model):
    """A team's customer at Stripe, and the card saved for off-session payments."""

    team = models.OneToOneField(
        Team, on_delete=models.PROTECT, primary_key=True, related_name="payment_customer"
    )
    stripe_id = models.CharField(max_length=64, unique=True)
    payment_method_id = models.CharField(max_length=64, blank=True)
    card_brand = models.CharField(max_length=20, blank=True)
    card_last_four = models.CharField(max_length=4, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "Stripe customer"

    def __str__(self) -> str:
        return f"{self.team}: {self.stripe_id}"


class Order(models.Model):
    """A purchase of credits. Its amounts are set here, never by what Stripe sends."""

    class Origin(models.TextChoices):
        """Who placed the order: a person at Checkout, or auto top-up."""

        CHECKOUT = "checkout"
        AUTO_TOP_UP = "auto_top_up"

    class State(models.TextChoices):
        """The state. A failed or expired order may still turn out to be paid."""

        OPEN = "open"
        PAID = "paid"
        FAILED = "failed"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="orders")
    user = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    origin = models.CharField(max_length=16, choices=Origin, default=Origin.CHECKOUT)
    amount_cents = models.PositiveIntegerField(help_text="Before tax.")
    credit_nanos = models.BigIntegerField()
    is_live = models.BooleanField(help_text="Stripe's live mode: the money is real.")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    session_id = models.CharField(max_length=100, null=True, blank=True, unique=True)
    payment_method_id = models.CharField(
        max_length=64, blank=True, help_text="The card that auto top-up charges."
    )
    payment_intent_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    charge_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    invoice_id = models.CharField(max_length=64, blank=True)
    tax_cents = models.PositiveIntegerField(default=0)
    failure = models.CharField(max_length=300, blank=True, help_text="Why the payment failed.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_cents__gt=0, credit_nanos__gt=0),
                name="order_amount_positive",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="paid") | models.Q(payment_intent_id__isnull=False),
                name="order_paid_by_a_payment",
            ),
            models.UniqueConstraint(
                fields=["team"],
                condition=models.Q(origin="auto_top_up", state="open"),
                name="order_one_auto_top_up_at_a_time",
            ),
        ]
        indexes = [
            models.Index(fields=["team", "-created_at"], name="order_by_team"),
            models.Index(
                fields=["created_at"], condition=models.Q(state="open"), name="order_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} of {self.team}: {self.amount_cents} cents, {self.state}"

    @property
    def number(self) -> str:
        """The short number shown to people."""
        return str(self.id)[:8].upper()


class StripeEvent(models.Model):
    """An event received by webhook. Its object is fetched from Stripe, so no payload is stored."""

    class State(models.TextChoices):
        """The state. `handled` and `ignored` are final; a `failed` event is retried."""

        RECEIVED = "received"
        HANDLED = "handled"
        IGNORED = "ignored"
        FAILED = "failed"

    id = models.CharField(max_length=100, primary_key=True)
    type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=100)
    created_at = models.DateTimeField(help_text="By Stripe's clock.")
    received_at = models.DateTimeField(default=timezone.now, editable=False)
    state = models.CharField(max_length=10, choices=State, default=State.RECEIVED)
    outcome = models.CharField(max_length=300, blank=True, help_text="What handling it did.")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "Stripe event"
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=models.Q(state__in=["received", "failed"]),
                name="stripeevent_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.object_id}: {self.state}"


class AutoTopUp(models.Model):
    """A team's settings for buying credits automatically, and the state of the last attempt."""

    class Problem(models.TextChoices):
        """Why the last attempt failed."""

        NONE = ""
        DECLINED = "declined"
        AUTHENTICATION = "authentication_required"
        NO_CARD = "no_card"
        MONTHLY_LIMIT = "monthly_limit"

    team = models.OneToOneField(
        Team, on_delete=models.PROTECT, primary_key=True, related_name="auto_top_up"
    )
    is_enabled = models.BooleanField(default=False)
    threshold_nanos = models.BigIntegerField(help_text="Buy credits below this balance.")
    amount_cents = models.PositiveIntegerField()
    monthly_limit_cents = models.PositiveIntegerField(help_text="Per calendar month, UTC.")
    problem = models.CharField(max_length=32, choices=Problem, blank=True)
    problem_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveSmallIntegerField(default=0, help_text="Consecutive declines.")
    next_attempt_at = models.DateTimeField(
        null=True, blank=True, help_text="No attempt before then, or one is in progress."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "auto top-up"
        verbose_name_plural = "auto top-ups"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    threshold_nanos__gt=0,
                    amount_cents__gt=0,
                    monthly_limit_cents__gte=models.F("amount_cents"),
                ),
                name="auto_top_up_amounts",
            )
        ]

    def __str__(self) -> str:
        return f"{self.team}: {'on' if self.is_enabled else 'off'}"


class Refund(models.Model):
    """A refund of an order, or a part of it, to the customer's card."""

    class State(models.TextChoices):
        """The state: ours until submitted (`requested`), then Stripe's status."""

        REQUESTED = "requested"
        PENDING = "pending"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        CANCELED = "canceled"

    # The money did not leave, or came back: the credits were returned.
    UNSUCCESSFUL_STATES = (State.FAILED, State.CANCELED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="refunds")
    amount_cents = models.PositiveIntegerField(help_text="Before the tax refunded with it.")
    tax_cents = models.PositiveIntegerField(default=0)
    credit_nanos = models.BigIntegerField()
    reason = models.CharField(max_length=300)
    is_forced = models.BooleanField(default=False, help_text="Even if the credit is spent.")
    requested_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    stripe_id = models.CharField(max_length=64, null=True, blank=True, unique=True)
    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(credit_nanos__gt=0)
                & (models.Q(amount_cents__gt=0) | models.Q(tax_cents__gt=0)),
                name="refund_amount_positive",
            )
        ]
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(state__in=["requested", "pending"]),
                name="refund_under_way",
            )
        ]

    def __str__(self) -> str:
        return f"{self.amount_cents} cents of {self.order.number}: {self.state}"


class PaymentCase(models.Model):
    """A dispute of, or warning about, one payment, which is an order's or a plan's."""

    stripe_id = models.CharField(max_length=64, primary_key=True)
    order = models.ForeignKey(
        Order, on_delete=models.PROTECT, null=True, blank=True, related_name="%(class)ss"
    )
    subscription_payment = models.ForeignKey(
        SubscriptionPayment,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="%(class)ss",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    handled_at = models.DateTimeField(null=True, blank=True)
    handled_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    note = models.TextField(blank=True)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=models.Q(order__isnull=False, subscription_payment__isnull=True)
                | models.Q(order__isnull=True, subscription_payment__isnull=False),
                name="%(class)s_of_one_payment",
            )
        ]

    @property
    def source(self) -> Order | SubscriptionPayment:
        """The order or plan payment that was paid for."""
        found = self.order or self.subscription_payment
        if found is None:
            raise ValueError("A dispute or a warning has exactly one payment.")
        return found

    @property
    def team(self) -> Team:
        """The team that paid."""
        source = self.source
        return source.team if isinstance(source, Order) else source.subscription.team

    @property
    def payment(self) -> str:
        """The payment's name, for people."""
        source = self.source
        if isinstance(source, Order):
            return f"Order {source.number}"
        return f"Invoice {source.invoice_id}"


class Dispute(PaymentCase):
    """A dispute, as Stripe reports it, and how staff handled it."""

    amount_cents = models.PositiveIntegerField(help_text="As charged, with tax.")
    tax_cents = models.PositiveIntegerField(default=0, help_text="Tax included in the amount.")
    credit_nanos = models.BigIntegerField(default=0, help_text="Credits clawed back.")
    owed_nanos = models.BigIntegerField(
        default=0, help_text="Clawed back but already spent, so owed by the team."
    )
    revenue_nanos = models.BigIntegerField(
        default=0, db_default=0, help_text="Moved out of revenue, for a plan's payment."
    )
    reinstated_cents = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Reinstated by Stripe so far, with tax."
    )
    corrected_nanos = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="Given by staff ahead of Stripe; taken back from what Stripe reinstates.",
    )
    collected_at = models.DateTimeField(
        null=True, blank=True, help_text="When the debt was collected."
    )
    reason = models.CharField(max_length=64)
    status = models.CharField(max_length=40, help_text="Stripe's status.")
    is_withdrawn = models.BooleanField(default=False, help_text="Stripe withdrew the funds.")
    is_reinstated = models.BooleanField(default=False, help_text="Stripe reinstated the funds.")
    evidence_due_at = models.DateTimeField(null=True, blank=True)

    class Meta(PaymentCase.Meta):
        indexes = [
            models.Index(
                fields=["created_at"],
                condition=models.Q(owed_nanos__gt=0, collected_at__isnull=True),
                name="dispute_owed",
            )
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id} of {self.payment}: {self.status}"

    @property
    def withdrawn_cents(self) -> int:
        """What Stripe has withdrawn and not reinstated, with tax."""
        lasts = self.is_withdrawn and not self.is_reinstated
        return self.amount_cents - self.reinstated_cents if lasts else 0

    def share(self, whole: int) -> int:
        """Return the reinstated share of `whole`, a figure of the entire dispute."""
        if self.is_reinstated:
            return whole
        return whole * self.reinstated_cents // self.amount_cents if self.amount_cents else 0


class FraudWarning(PaymentCase):
    """An early fraud warning of a card issuer. Most lead to disputes, so the keys are paused."""

    fraud_type = models.CharField(max_length=64)

    class Meta(PaymentCase.Meta):
        pass

    def __str__(self) -> str:
        return f"{self.stripe_id} of {self.payment}"
