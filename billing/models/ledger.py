"""The books: credit accounts, transfers and reservations.

The functions in `ledger/sql/` are the only code that writes these tables; the classes are for
reading them.
"""

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Team
from billing.models.prices import PriceVersion


class CreditAccount(models.Model):
    """A side of the ledger: a customer's credits, or one of the platform's own accounts.

    Only a customer's balances are kept in the row. The platform's are sums of transfers, so no row
    but the customer's own is ever contended.
    """

    class Kind(models.TextChoices):
        """The purpose of the account."""

        CUSTOMER = "customer"
        REVENUE = "revenue"
        STRIPE_CLEARING = "stripe_clearing"
        PROMOTIONAL_GRANTS = "promotional_grants"
        ADJUSTMENTS = "adjustments"
        WRITE_OFF = "write_off"
        RECEIVABLE = "receivable"

    kind = models.CharField(max_length=24, choices=Kind)
    team = models.OneToOneField(
        Team, on_delete=models.PROTECT, null=True, blank=True, related_name="credit_account"
    )
    posted_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    last_sequence = models.BigIntegerField(default=0, help_text="Of the customer's transfers.")
    open_calls = models.IntegerField(
        default=0, db_default=0, help_text="Open reservations that count as calls at once."
    )
    has_budgets = models.BooleanField(
        default=False, db_default=False, help_text="Whether the team has, or had, budget rules."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(held_nanos__gte=0), name="account_held_not_negative"
            ),
            models.CheckConstraint(
                condition=~models.Q(kind="customer")
                | models.Q(posted_nanos__gte=models.F("held_nanos")),
                name="account_available_not_negative",
            ),
            models.CheckConstraint(
                condition=models.Q(kind="customer", team__isnull=False)
                | (~models.Q(kind="customer") & models.Q(team__isnull=True)),
                name="account_customer_has_team",
            ),
            models.UniqueConstraint(
                fields=["kind"],
                condition=~models.Q(kind="customer"),
                name="account_one_of_each_platform_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team}" if self.team_id else str(self.kind)

    @property
    def available_nanos(self) -> int:
        """What the customer can still spend, in nano-dollars: posted less held."""
        return self.posted_nanos - self.held_nanos


class Transfer(models.Model):
    """One movement of money: a balanced double entry in one row, never changed or deleted."""

    class Kind(models.TextChoices):
        """Why the money moved. `(kind, reference)` is unique, so a repeat moves nothing."""

        USAGE = "usage"
        WRITE_OFF = "write_off"
        GRANT = "grant"
        TOP_UP = "top_up"
        EXPIRY = "expiry"
        SUBSCRIPTION = "subscription"
        REVENUE_REVERSAL = "revenue_reversal"
        REVENUE_REINSTATEMENT = "revenue_reinstatement"
        ADJUSTMENT = "adjustment"
        REFUND = "refund"
        REFUND_REVERSAL = "refund_reversal"
        GOODWILL = "goodwill"
        GOODWILL_REVERSAL = "goodwill_reversal"
        CLAWBACK = "clawback"
        CLAWBACK_REVERSAL = "clawback_reversal"
        RECEIVABLE = "receivable"
        RECEIVABLE_REVERSAL = "receivable_reversal"
        COLLECTION = "collection"

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=24, choices=Kind)
    reference = models.CharField(max_length=200)
    debit_account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="debits", db_index=False
    )
    credit_account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="credits", db_index=False
    )
    amount_nanos = models.BigIntegerField()
    customer = models.ForeignKey(
        CreditAccount,
        on_delete=models.PROTECT,
        null=True,
        related_name="transfers",
        db_index=False,
        db_constraint=False,
        help_text="The customer among the two accounts, if there is one.",
    )
    owner = models.ForeignKey(
        CreditAccount,
        on_delete=models.PROTECT,
        null=True,
        related_name="shortfalls",
        db_index=False,
        db_constraint=False,
        help_text="The customer whose shortfall it is, where none is among the two accounts.",
    )
    sequence = models.BigIntegerField(null=True, help_text="Counts the customer's transfers.")
    balance_nanos = models.BigIntegerField(null=True, help_text="The customer's, after it.")
    memo = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_nanos__gt=0), name="transfer_amount_positive"
            ),
            models.CheckConstraint(
                condition=~models.Q(debit_account=models.F("credit_account")),
                name="transfer_between_two_accounts",
            ),
            models.UniqueConstraint(fields=["kind", "reference"], name="transfer_once"),
            models.UniqueConstraint(
                fields=["customer", "sequence"],
                condition=models.Q(customer__isnull=False),
                name="transfer_sequence",
            ),
        ]
        indexes = [
            # The few lines of a statement among the many of usage.
            models.Index(
                fields=["customer", "sequence"],
                condition=~models.Q(kind="usage"),
                name="transfer_not_usage",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}: {self.amount_nanos} nanos"


class Reservation(models.Model):
    """Credits held for one request, from before the upstream call to its one end.

    The ledger's functions take the account from the row they have locked, so the database need not
    look it up again for each row (measured: a tenth of admission and settlement). Transfers, which
    are the books, keep their foreign keys.
    """

    class State(models.TextChoices):
        """`open` ends once, in one of the others."""

        OPEN = "open"
        SETTLED = "settled"
        RELEASED = "released"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, help_text="The request's id.")
    account = models.ForeignKey(
        CreditAccount,
        on_delete=models.PROTECT,
        related_name="reservations",
        db_index=False,
        db_constraint=False,
    )
    key = models.ForeignKey(
        ApiKey, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    price_version = models.ForeignKey(
        PriceVersion,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        db_constraint=False,
    )
    amount_nanos = models.BigIntegerField()
    model = models.CharField(max_length=120)
    surface = models.CharField(max_length=40)
    tokens_counted = models.BigIntegerField(help_text="Against the key's tokens per minute.")
    window_started_at = models.DateTimeField(null=True, help_text="The minute they count in.")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    lease_id = models.IntegerField(
        null=True, help_text="Of the process that serves it. None: it ends by its expiry alone."
    )
    is_call = models.BooleanField(
        default=False, db_default=False, help_text="Whether it counts among the team's open calls."
    )
    spend_ids = ArrayField(
        models.BigIntegerField(), null=True, help_text="The budgets' rows that it counts in."
    )

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(amount_nanos__gte=0), name="reservation_not_negative"
            ),
            models.CheckConstraint(
                condition=models.Q(state="open", ended_at__isnull=True)
                | (~models.Q(state="open") & models.Q(ended_at__isnull=False)),
                name="reservation_ended_has_time",
            ),
        ]
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=models.Q(state="open"),
                name="reservation_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.state}: {self.amount_nanos} nanos"


class ProcessLease(models.Model):
    """The lease of a process that admits requests (`billing/ledger/lease.py`)."""

    id = models.AutoField(primary_key=True)
    process = models.CharField(max_length=200, help_text="Host and process id.")
    started_at = models.DateTimeField()
    renewed_at = models.DateTimeField()
    suspected_at = models.DateTimeField(
        null=True, help_text="Since when it has neither renewed the lease nor held its lock."
    )
    ended_at = models.DateTimeField(null=True, help_text="Set: what it held is released.")

    def __str__(self) -> str:
        return f"{self.id} of {self.process}"


class FreeWindow(models.Model):
    """The use of free models by a team, or from a client's address, in its current minute.

    Like the keys' minutes it is unlogged: a crash of PostgreSQL empties it.
    """

    subject = models.CharField(
        primary_key=True, max_length=80, help_text="`team 1`, or `address 192.0.2.1`."
    )
    started_at = models.DateTimeField()
    requests = models.BigIntegerField()
    tokens = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.subject}: {self.requests} requests, {self.tokens} tokens"


class LedgerAlert(models.Model):
    """Something about money that a person should look at: an overrun, a broken invariant."""

    kind = models.CharField(max_length=40)
    reference = models.CharField(max_length=200)
    detail = models.CharField(max_length=500)
    created_at = models.DateTimeField(default=timezone.now)
    handled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "reference"], name="alert_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"
