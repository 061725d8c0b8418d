"""Upstreams' own figures of our usage, where their API has sums by day and model only."""

from django.core.exceptions import ValidationError
from django.db import models

from api.models.catalogue import Upstream, validate_base_url


class UsageSource(models.Model):
    """An API that reports what an upstream bills us, and the key for it.

    The key is encrypted for the address and the kind (`api/usage_reports.py`): upstreams give usage
    to keys of administrators, not to those that requests are sent with.
    """

    class Kind(models.TextChoices):
        """The API's shape."""

        OPENAI = "openai", "OpenAI: organization usage and costs"
        OPENROUTER = "openrouter", "OpenRouter: activity"

    upstream = models.OneToOneField(Upstream, on_delete=models.CASCADE, related_name="usage_source")
    kind = models.CharField(max_length=20, choices=Kind)
    base_url = models.CharField(
        "base URL",
        max_length=200,
        help_text=(
            "Up to and without `/organization` or `/activity`, such as https://api.openai.com/v1 "
            "or https://openrouter.ai/api/v1."
        ),
    )
    encrypted_key = models.TextField(default="", db_default="", blank=True, editable=False)
    key_end = models.CharField(max_length=4, default="", db_default="", blank=True, editable=False)
    key_set_at = models.DateTimeField(null=True, blank=True, editable=False)
    is_enabled = models.BooleanField(
        "enabled", default=True, db_default=True, help_text="Read every night, the last 30 days."
    )
    read_at = models.DateTimeField(null=True, blank=True, editable=False)
    error = models.CharField(max_length=300, default="", db_default="", blank=True, editable=False)

    def __str__(self) -> str:
        return f"usage of {self.upstream}"

    def clean(self) -> None:
        """Raise ValidationError for a base URL that can't be one."""
        super().clean()
        if self.base_url:
            try:
                validate_base_url(self.base_url)
            except ValidationError as error:
                raise ValidationError({"base_url": error.messages}) from None


class ReportedUsage(models.Model):
    """An upstream's figures for a day (UTC) and a model, by its own name for the model."""

    source = models.ForeignKey(UsageSource, on_delete=models.CASCADE, related_name="reported")
    day = models.DateField()
    model = models.CharField(max_length=200)
    requests = models.BigIntegerField(default=0, db_default=0)
    input_tokens = models.BigIntegerField(
        default=0, db_default=0, help_text="Including cached ones."
    )
    output_tokens = models.BigIntegerField(default=0, db_default=0)
    cost_nanos = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        default_permissions = ("view",)
        verbose_name_plural = "reported usage"
        constraints = [
            models.UniqueConstraint(fields=["source", "day", "model"], name="reportedusage_once")
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.model}: {self.requests}"
