"""Sums for staff's overview, and when periodic tasks last ran.

`billing_roll_up_service` (`billing/ledger/sql/`) writes the sums.
"""

from typing import Any, ClassVar

from django.db import models

from billing.models.ledger import CreditAccount


class ServiceHour(models.Model):
    """The whole service's usage in an hour, by model and upstream."""

    hour = models.DateTimeField()
    model = models.CharField(max_length=120)
    upstream = models.CharField(max_length=80, blank=True)
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    charged_nanos = models.BigIntegerField(default=0)
    upstream_cost_nanos = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["hour", "model", "upstream"], name="servicehour_once")
        ]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H}h {self.model} at {self.upstream}: {self.requests}"


class TeamDay(models.Model):
    """A team's usage on a day, in UTC."""

    day = models.DateField()
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    charged_nanos = models.BigIntegerField(default=0)
    upstream_cost_nanos = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "account"], name="teamday_once")]

    def __str__(self) -> str:
        return f"{self.day} {self.account_id}: {self.requests}"


class MarginDay(models.Model):
    """A team's usage of a model at an upstream on a day, in UTC."""

    day = models.DateField()
    account = models.ForeignKey(
        CreditAccount, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    model = models.CharField(max_length=120)
    upstream = models.CharField(max_length=80, blank=True)
    requests = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    charged_nanos = models.BigIntegerField(default=0)
    upstream_cost_nanos = models.BigIntegerField(default=0)

    class Meta:
        permissions: ClassVar[Any] = [("view_margins", "Can see margins by customer")]
        constraints = [
            models.UniqueConstraint(
                fields=["day", "account", "model", "upstream"], name="marginday_once"
            )
        ]
        indexes = [models.Index(fields=["model", "day"], name="marginday_by_model")]

    def __str__(self) -> str:
        return f"{self.day} {self.account_id}, {self.model} at {self.upstream}: {self.requests}"


class TaskRun(models.Model):
    """When a periodic task last finished, and with what result."""

    name = models.CharField(max_length=80, primary_key=True)
    finished_at = models.DateTimeField()
    result = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.finished_at:%Y-%m-%d %H:%M}"
