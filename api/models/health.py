"""How often and how fast models answer, for `/health`, `/status` and pages; ejected routes."""

from django.db import models
from django.utils import timezone


class ModelHealth(models.Model):
    """A model's successes and failures by minute, over all processes: the source of `/health`."""

    model = models.CharField(max_length=120)
    minute = models.DateTimeField()
    succeeded = models.IntegerField(default=0)
    failed = models.IntegerField(default=0)

    class Meta:
        verbose_name = verbose_name_plural = "model health"
        constraints = [models.UniqueConstraint(fields=["model", "minute"], name="modelhealth_once")]

    def __str__(self) -> str:
        return (
            f"{self.model} {self.minute:%H:%M}: {self.succeeded} of {self.succeeded + self.failed}"
        )


class ModelHealthHour(models.Model):
    """A model's health by hour, kept for 31 days: the source of `/status`.

    `latency_ms_total` is over the answers that succeeded, `first_token_ms_total` over those of
    them (`first_token_count`) that were streamed.
    """

    model = models.CharField(max_length=120)
    hour = models.DateTimeField()
    succeeded = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    latency_ms_total = models.BigIntegerField(default=0)
    first_token_ms_total = models.BigIntegerField(default=0)
    first_token_count = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = verbose_name_plural = "model health by hour"
        constraints = [
            models.UniqueConstraint(fields=["hour", "model"], name="modelhealthhour_once")
        ]

    def __str__(self) -> str:
        return (
            f"{self.model} {self.hour:%Y-%m-%d %H}h: "
            f"{self.succeeded} of {self.succeeded + self.failed}"
        )


class RouteEjection(models.Model):
    """A time in which a route was left alone because it failed (`api/gateway/breaker.py`).

    A route whose upstream has keys is ejected for each `key` on its own. An ejection lasts until
    `recovered_at`. From `retry_at` on, one request at a time tries the route. `ejections` is how
    often in a row the route was ejected, and `reason` the latest failure.
    """

    route = models.ForeignKey("api.Route", on_delete=models.CASCADE, related_name="ejections")
    key = models.ForeignKey(
        "api.UpstreamKey", on_delete=models.CASCADE, null=True, blank=True, related_name="ejections"
    )
    ejected_at = models.DateTimeField(default=timezone.now)
    retry_at = models.DateTimeField()
    recovered_at = models.DateTimeField(null=True, blank=True)
    ejections = models.PositiveIntegerField(default=1, db_default=1)
    reason = models.TextField(default="", db_default="", blank=True)

    class Meta:
        ordering = ["-ejected_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["route", "key"],
                condition=models.Q(recovered_at__isnull=True),
                nulls_distinct=False,
                name="routeejection_one_lasting_by_key",
            )
        ]

    def __str__(self) -> str:
        return f"{self.label} {self.ejected_at:%Y-%m-%d %H:%M}"

    @property
    def label(self) -> str:
        """The route, with the name of its key if it has one."""
        return f"{self.route}, key {self.key.name}" if self.key else str(self.route)


class ModelFigures(models.Model):
    """A model's figures over the last 30 days, of the whole service: the source of its page.

    `teams` is how many teams used it. `streamed_tokens` and `streamed_ms` are the output tokens of
    streams and the time from their first token to their last.
    """

    # Fewer would say more about a customer's use than about the model.
    LEAST_REQUESTS = 100
    LEAST_TEAMS = 3

    model = models.CharField(max_length=120, primary_key=True)
    teams = models.IntegerField(default=0, db_default=0)
    succeeded = models.BigIntegerField(default=0, db_default=0)
    failed = models.BigIntegerField(default=0, db_default=0)
    first_token_ms_total = models.BigIntegerField(default=0, db_default=0)
    first_token_count = models.BigIntegerField(default=0, db_default=0)
    streamed_tokens = models.BigIntegerField(default=0, db_default=0)
    streamed_ms = models.BigIntegerField(default=0, db_default=0)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = verbose_name_plural = "model figures"

    def __str__(self) -> str:
        return f"{self.model}: {self.succeeded + self.failed} requests of {self.teams} teams"

    @property
    def is_public(self) -> bool:
        """Whether enough teams made enough requests for the figures to be shown."""
        requests = self.succeeded + self.failed
        return requests >= self.LEAST_REQUESTS and self.teams >= self.LEAST_TEAMS
