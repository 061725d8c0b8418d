"""What was used: a record for each request, its sums by hour, and each key's counters.

The functions in `billing/ledger/sql/` are the only code that writes these tables.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.models import ApiKey
from billing.models.ledger import CreditAccount
from billing.models.prices import PriceVersion


class UsageRecord(models.Model):
    """The usage and cost of one request, written in the transaction that settles it.

    Prompts and completions are never stored.
    """

    class Source(models.TextChoices):
        """The counter: the upstream, our estimate, or nobody (the request was not answered)."""

        UPSTREAM = "upstream"
        ESTIMATED = "estimated"
        NONE = "none"

    request_id = models.UUIDField(primary_key=True)
    account = models.ForeignKey(
        CreditAccount,
        on_delete=models.PROTECT,
        related_name="usage_records",
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
    lines = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text=(
            "[component, quantity, rate_nanos, per, amount_nanos] of each, with "
            "[factor_millionths, above_input_tokens, service_tier] where they make a difference, "
            "and [contract] at a contract price; none in old rows."
        ),
    )
    charged_nanos = models.BigIntegerField(default=0)
    written_off_nanos = models.BigIntegerField(default=0, help_text="Cost that no credit covered.")
    upstream_cost_nanos = models.BigIntegerField(default=0, help_text="What we owe the upstream.")
    cost_lines = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text=(
            "What each upstream charges us: upstream, route_cost (the version of the route's "
            "cost), amount_nanos, and lines as above. None in old rows, and where no cost is known."
        ),
    )
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
    body_digest = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="A keyed digest of the body, of requests that did not complete.",
    )
    retry_of = models.UUIDField(
        null=True, blank=True, help_text="The request that the client repeated."
    )
    session_id = models.CharField(
        max_length=128,
        blank=True,
        default="",
        db_default="",
        help_text="The client's id of its session, such as a coding agent's run.",
    )
    spend_ids = ArrayField(
        models.BigIntegerField(), null=True, help_text="The budgets' rows that it counts in."
    )
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
            # For the pages' filters. Both are small, as most requests complete and few name a user:
            # an index of every request by key or model would slow settlement by a third.
            models.Index(
                fields=["account", "end_user", "-created_at"],
                condition=~models.Q(end_user=""),
                name="usage_by_end_user",
            ),
            models.Index(
                fields=["account", "-created_at"],
                include=[
                    "model",
                    "outcome",
                    "input_tokens",
                    "cached_tokens",
                    "output_tokens",
                    "reasoning_tokens",
                    "images",
                    "charged_nanos",
                    "latency_ms",
                    "first_token_ms",
                ],
                condition=~models.Q(outcome="completed"),
                name="usage_not_completed",
            ),
            models.Index(
                fields=["key", "body_digest", "-created_at"],
                condition=~models.Q(body_digest=""),
                name="usage_by_body",
            ),
            models.Index(
                fields=["retry_of"],
                condition=models.Q(retry_of__isnull=False),
                name="usage_by_retried",
            ),
            # It adds 8% to the settlement of a request with a session, and nothing to others.
            models.Index(
                fields=["account", "session_id", "-created_at"],
                condition=~models.Q(session_id=""),
                name="usage_by_session",
            ),
            models.Index(
                fields=["-created_at"],
                condition=models.Q(upstream_cost_nanos__gt=models.F("charged_nanos")),
                name="usage_at_a_loss",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}: {self.model}, {self.cost_nanos} nanos"

    @property
    def contract_id(self) -> int | None:
        """The contract price that was charged, which every line names; None for the list price."""
        return self.lines[0][8] if self.lines and len(self.lines[0]) > 8 else None

    @property
    def margin_nanos(self) -> int:
        """What the customer paid less what the upstreams charge us; negative for a loss."""
        return self.charged_nanos - self.upstream_cost_nanos


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
    # Included in the counters above: what the key spent that was rotated into this one.
    carried_on = models.DateField(null=True, help_text="When the key was rotated.")
    carried_day_nanos = models.BigIntegerField(
        default=0, db_default=0, help_text="Of the key that this one replaced."
    )
    carried_month_nanos = models.BigIntegerField(
        default=0, db_default=0, help_text="Of the key that this one replaced."
    )
    carried_total_nanos = models.BigIntegerField(
        default=0, db_default=0, help_text="Of the key that this one replaced."
    )

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
    model_requests = models.JSONField(
        default=dict, help_text="Of the requests, those for models with limits of their own."
    )

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
