"""How often models answer: the source of `/health` and `/status`."""

from django.db import models


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
