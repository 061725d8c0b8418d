"""How much: products and prices, credit accounts, transfers, reservations and usage.

Terms are accounting's. Amounts are integer nano-dollars (`…_nanos`; $1 is 10^9). The functions in
`billing/sql/` are the only code that writes accounts, transfers, reservations and usage records;
these classes are for reading them.
"""

import uuid

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Team

NANOS_PER_DOLLAR = 1_000_000_000


class Product(models.Model):
    """What is sold: one model's work, under the name that usage and prices refer to."""

    sku = models.CharField(max_length=120, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.sku


class PriceVersion(models.Model):
    """A product's prices from one moment on. A version in use is never changed: a new one follows.

    Token prices are nano-dollars per million tokens, so $0.0375 per million is exact; the others
    are nano-dollars per piece. `…_cost_…` is what the upstream asks of the operator.
    """

    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="price_versions")
    effective_from = models.DateTimeField()
    input_nanos_per_million = models.PositiveBigIntegerField(default=0)
    cached_input_nanos_per_million = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Empty: cached input costs as much as input."
    )
    output_nanos_per_million = models.PositiveBigIntegerField(default=0)
    reasoning_nanos_per_million = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="Empty: reasoning costs as much as output."
    )
    image_nanos = models.PositiveBigIntegerField(default=0, help_text="Per image made.")
    second_nanos = models.PositiveBigIntegerField(default=0, help_text="Per second made.")
    piece_nanos = models.PositiveBigIntegerField(default=0, help_text="Per video or other piece.")
    request_nanos = models.PositiveBigIntegerField(default=0, help_text="Per answered request.")
    input_cost_nanos_per_million = models.PositiveBigIntegerField(default=0)
    cached_input_cost_nanos_per_million = models.PositiveBigIntegerField(null=True, blank=True)
    output_cost_nanos_per_million = models.PositiveBigIntegerField(default=0)
    reasoning_cost_nanos_per_million = models.PositiveBigIntegerField(null=True, blank=True)
    image_cost_nanos = models.PositiveBigIntegerField(default=0)
    second_cost_nanos = models.PositiveBigIntegerField(default=0)
    piece_cost_nanos = models.PositiveBigIntegerField(default=0)
    request_cost_nanos = models.PositiveBigIntegerField(default=0)
    source = models.CharField(max_length=200, blank=True, help_text="Where the figures are from.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["product", "-effective_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["product", "effective_from"], name="price_one_version_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.product} from {self.effective_from:%Y-%m-%d %H:%M}"


class CreditAccount(models.Model):
    """A side of the ledger: a customer's credits, or one of the platform's own accounts.

    Only a customer's balances are kept in the row. The platform's are sums of transfers, so no row
    but the customer's own is ever contended.
    """

    class Kind(models.TextChoices):
        """What the account stands for."""

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
        ADJUSTMENT = "adjustment"
        REFUND = "refund"
        CLAWBACK = "clawback"
        RECEIVABLE = "receivable"

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=16, choices=Kind)
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

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}: {self.amount_nanos} nanos"


class Reservation(models.Model):
    """Credits held for one request, from before the upstream call to its one end."""

    class State(models.TextChoices):
        """`open` ends once, in one of the others."""

        OPEN = "open"
        SETTLED = "settled"
        RELEASED = "released"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, help_text="The request's id.")
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="reservations", db_index=False
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


class UsageRecord(models.Model):
    """What one request used and cost, written in the transaction that settles it.

    Prompts and completions are never stored.
    """

    class Source(models.TextChoices):
        """Who counted: the upstream, our estimate, or nobody (the request was not answered)."""

        UPSTREAM = "upstream"
        ESTIMATED = "estimated"
        NONE = "none"

    request_id = models.UUIDField(primary_key=True)
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="usage_records", db_index=False
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
    model = models.CharField(max_length=120)
    surface = models.CharField(max_length=40)
    endpoint = models.CharField(max_length=40)
    streamed = models.BooleanField(default=False)
    upstream = models.CharField(max_length=80, blank=True)
    upstream_request_id = models.CharField(max_length=200, blank=True)
    end_user = models.CharField(max_length=200, blank=True, help_text="The request's `user`.")
    input_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0, help_text="Part of the input tokens.")
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0, help_text="Part of the output tokens.")
    images = models.IntegerField(default=0)
    seconds = models.IntegerField(default=0)
    pieces = models.IntegerField(default=0)
    input_nanos = models.BigIntegerField(default=0)
    cached_nanos = models.BigIntegerField(default=0)
    output_nanos = models.BigIntegerField(default=0)
    reasoning_nanos = models.BigIntegerField(default=0)
    units_nanos = models.BigIntegerField(default=0, help_text="Images, seconds, pieces, request.")
    cost_nanos = models.BigIntegerField(default=0, help_text="The components' sum.")
    charged_nanos = models.BigIntegerField(default=0)
    written_off_nanos = models.BigIntegerField(default=0, help_text="Cost that no credit covered.")
    upstream_cost_nanos = models.BigIntegerField(default=0, help_text="What we owe the upstream.")
    reserved_nanos = models.BigIntegerField(default=0)
    source = models.CharField(max_length=10, choices=Source, default=Source.NONE)
    outcome = models.CharField(
        max_length=32, help_text="completed, client_closed, upstream_error, expired, ..."
    )
    is_late = models.BooleanField(default=False, help_text="Settled after the hold had expired.")
    status = models.SmallIntegerField(default=0, help_text="The HTTP status we answered.")
    error = models.CharField(max_length=500, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    attempts = models.JSONField(default=list, help_text="Each upstream call that was tried.")
    latency_ms = models.IntegerField(default=0)
    first_token_ms = models.IntegerField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    cost_nanos=models.F("charged_nanos") + models.F("written_off_nanos")
                ),
                name="usage_cost_accounted_for",
            ),
            models.CheckConstraint(
                condition=models.Q(charged_nanos__gte=0, written_off_nanos__gte=0),
                name="usage_not_negative",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-created_at"], name="usage_by_account"),
            models.Index(fields=["created_at"], name="usage_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.model}, {self.cost_nanos} nanos"


class KeySpend(models.Model):
    """What a key has spent and holds, against its budgets. Days and months are UTC's."""

    key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="spend"
    )
    day = models.DateField()
    day_nanos = models.BigIntegerField(default=0)
    month = models.DateField(help_text="Its first day.")
    month_nanos = models.BigIntegerField(default=0)
    total_nanos = models.BigIntegerField(default=0)
    held_nanos = models.BigIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(held_nanos__gte=0), name="keyspend_held_not_negative"
            )
        ]

    def __str__(self) -> str:
        return f"{self.key_id}: {self.total_nanos} nanos"


class RateWindow(models.Model):
    """What a key has used of its current minute. The table is UNLOGGED: a crash empties it."""

    key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="+", db_constraint=False
    )
    started_at = models.DateTimeField()
    requests = models.IntegerField(default=0)
    tokens = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.key_id} since {self.started_at}"


class UsageHour(models.Model):
    """Usage rolled up by hour, key and model, for charts that stay fast."""

    hour = models.DateTimeField()
    account = models.ForeignKey(CreditAccount, on_delete=models.PROTECT, related_name="+")
    key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, related_name="+", db_index=False)
    model = models.CharField(max_length=120)
    requests = models.IntegerField(default=0)
    errors = models.IntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    images = models.BigIntegerField(default=0)
    charged_nanos = models.BigIntegerField(default=0)
    upstream_cost_nanos = models.BigIntegerField(default=0)
    latency_ms_total = models.BigIntegerField(default=0)
    first_token_ms_total = models.BigIntegerField(default=0)
    first_token_count = models.IntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "account", "key", "model"], name="usagehour_once"
            )
        ]
        indexes = [models.Index(fields=["account", "hour"], name="usagehour_by_account")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.model}: {self.requests}"


class CatalogueVersion(models.Model):
    """One row that counts the changes of models, routes and prices; triggers advance it."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=1)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(id=1), name="catalogueversion_one_row")
        ]

    def __str__(self) -> str:
        return str(self.version)


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
