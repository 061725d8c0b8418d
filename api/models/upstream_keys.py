"""The keys of an upstream, each with limits of its own."""

from django.core.validators import MinValueValidator
from django.db import models
from django.utils import timezone

from api.models.catalogue import Upstream

FIRST_NAME = "default"


class UpstreamKey(models.Model):
    """A key that requests are sent to an upstream with.

    It is encrypted (api/upstream_keys.py), or in the environment variable that the row names. The
    relay treats each key of a route as a way of its own (api/catalogue/snapshot.py).
    """

    upstream = models.ForeignKey(Upstream, on_delete=models.CASCADE, related_name="keys")
    name = models.SlugField(
        max_length=40,
        default=FIRST_NAME,
        db_default=FIRST_NAME,
        help_text="Shown to staff in attempts, ejections and metrics; never to customers.",
    )
    api_key_env = models.CharField(
        "API key variable",
        max_length=80,
        default="",
        db_default="",
        blank=True,
        editable=False,
        help_text="The environment variable that holds the key, if none is stored.",
    )
    encrypted_key = models.TextField(default="", db_default="", blank=True, editable=False)
    key_end = models.CharField(max_length=4, default="", db_default="", blank=True, editable=False)
    key_set_at = models.DateTimeField(null=True, blank=True, editable=False)
    is_enabled = models.BooleanField(
        default=True, db_default=True, help_text="Clear this to stop using the key at once."
    )
    weight = models.PositiveIntegerField(
        default=1,
        db_default=1,
        validators=[MinValueValidator(1)],
        help_text="The share of sessions among the upstream's keys.",
    )
    max_concurrency = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Calls at once from each process. Empty: the upstream's limit alone applies.",
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="From all processes together. Empty: no limit.",
    )
    tokens_per_minute = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Input and output, from all processes together. Empty: no limit.",
    )
    drains_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text=(
            "No new calls from this moment on (UTC); running ones end as usual. Empty: never."
        ),
    )
    created_at = models.DateTimeField(
        default=timezone.now, db_default=models.functions.Now(), editable=False
    )

    class Meta:
        ordering = ["upstream", "id"]
        constraints = [
            models.UniqueConstraint(fields=["upstream", "name"], name="upstreamkey_name_once")
        ]

    def __str__(self) -> str:
        return f"{self.upstream} {self.name}"

    @property
    def has_secret(self) -> bool:
        """Whether there is a key: stored, or in a variable."""
        return bool(self.encrypted_key or self.api_key_env)
