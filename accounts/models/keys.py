"""API keys, of which only digests are stored."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from accounts.models.authorizations import RenewableKey
from accounts.models.teams import Team
from accounts.models.users import User


class ApiKey(RenewableKey):
    """A key's digest and rules; the plaintext is shown once and never stored.

    A limit of null means the plan's, a budget of null no budget.
    """

    class Scope(models.TextChoices):
        """The API that a key gives access to: inference, or management of its team's keys."""

        INFERENCE = "inference"
        MANAGEMENT = "management"

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="api_keys")
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    name = models.CharField(max_length=120)
    scope = models.CharField(max_length=16, choices=Scope, default=Scope.INFERENCE)
    prefix = models.CharField(max_length=32, editable=False)
    last_four = models.CharField(max_length=4, editable=False)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    pepper_version = models.PositiveSmallIntegerField(editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    frozen_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="It was frozen: it counts as expired."
    )
    # Otherwise staff did, and only they unfreeze it.
    is_frozen_by_team = models.BooleanField(default=False, db_default=False, editable=False)
    unfrozen_expires_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="Its expiry once it is unfrozen."
    )
    replaces = models.OneToOneField(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="replaced_by",
        help_text="The key that was rotated into this one. A key is rotated once.",
    )
    allowed_models = ArrayField(
        models.CharField(max_length=120),
        default=list,
        blank=True,
        help_text="Public model names, separated by commas. Leave empty to allow all models.",
    )
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveBigIntegerField(null=True, blank=True)
    budget_day_nanos = models.PositiveBigIntegerField(null=True, blank=True)
    budget_month_nanos = models.PositiveBigIntegerField(null=True, blank=True)
    budget_total_nanos = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        indexes = [models.Index(fields=["team", "-created_at"], name="apikey_by_team")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scope__in=["inference", "management"]), name="apikey_scope_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…{self.last_four})"
