"""Users, teams, memberships, invitations, plans and API keys; the audit log and sent emails.

Keys, credits and usage belong to a team, which users join with a role; a sign-up creates one.
"""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent  # noqa: F401
from accounts.zones import validate_zone


class UserManager(BaseUserManager["User"]):
    """The manager of users, whose login is their email address."""

    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Return a new user. `password=None` makes one who can't sign in with a password.

        Raise ValueError for an empty email address and IntegrityError for one in use.
        """
        if not email:
            raise ValueError("A user needs an email address.")
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None) -> "User":
        """Return a new user who may do everything in the admin.

        The email address counts as verified, since only someone with a shell can call this.
        """
        from allauth.account.models import EmailAddress  # noqa: PLC0415  (it needs this module)

        with transaction.atomic(using=self._db):
            user = self.create_user(email, password, is_staff=True, is_superuser=True)
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the user with this login; case doesn't matter."""
        return self.get(email=(username or "").lower())


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in with an email address."""

    email = models.EmailField(max_length=254, unique=True)
    name = models.CharField(max_length=150, blank=True)
    is_staff = models.BooleanField(default=False, help_text="May sign in to the admin.")
    is_active = models.BooleanField(default=True, help_text="Clear this instead of deleting.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    zone = models.CharField(
        "time zone",
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="An IANA name, such as Europe/Prague. Empty: the browser's.",
    )
    language = models.CharField(max_length=16, blank=True, default="", db_default="")
    terms_version = models.CharField(
        max_length=20,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The version accepted at sign-up. Empty: created by staff, or earlier.",
    )
    terms_accepted_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_unique")]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        """Lower-case the address, as it is stored. Raise ValidationError for an unknown zone."""
        super().clean()
        self.email = self.email.lower()
        if self.zone:
            validate_zone(self.zone)


class Plan(models.Model):
    """The limits of a team, and the default limits of its keys."""

    name = models.SlugField(unique=True)
    title = models.CharField(max_length=80)
    requests_per_minute = models.PositiveIntegerField(default=60)
    tokens_per_minute = models.PositiveBigIntegerField(default=120_000)
    concurrent_requests = models.PositiveIntegerField(
        default=100, db_default=100, help_text="Requests of a team at the same time."
    )
    max_keys = models.PositiveIntegerField(
        "maximum keys", default=100, db_default=100, help_text="API keys of a team that are valid."
    )
    is_default = models.BooleanField(default=False, help_text="New teams start on this plan.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="plan_one_default"
            )
        ]

    def __str__(self) -> str:
        return self.title


class Team(models.Model):
    """The customer: what owns credits, keys and usage."""

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=80, unique=True)
    is_personal = models.BooleanField(default=False)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="teams")
    suspended_at = models.DateTimeField(
        null=True, blank=True, help_text="When set, all of the team's keys are rejected (403)."
    )
    suspended_reason = models.CharField(max_length=200, blank=True)
    concurrent_requests = models.PositiveIntegerField(
        null=True, blank=True, help_text="Requests at the same time. Empty: the plan's limit."
    )
    max_keys = models.PositiveIntegerField(
        "maximum keys", null=True, blank=True, help_text="Valid API keys. Empty: the plan's limit."
    )
    tags = ArrayField(
        models.CharField(max_length=40),
        default=list,
        db_default=[],
        blank=True,
        help_text="For staff alone, separated by commas.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    members: "models.ManyToManyField[User, Membership]" = models.ManyToManyField(
        User, through="Membership", related_name="teams"
    )

    class Meta:
        permissions: ClassVar[Any] = [
            ("freeze_team", "Can freeze a team and its keys"),
            ("resend_emails", "Can send a team's emails again"),
            ("end_sessions", "Can end the sessions of a team's members"),
            ("view_as_customer", "Can view the portal as a team sees it"),
        ]

    def __str__(self) -> str:
        return self.name


class StaffNote(models.Model):
    """A staff note about a team, never shown to the team and never changed."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="staff_notes")
    author = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    text = models.TextField(max_length=2000)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.team}: {self.text[:60]}"


class Role(models.TextChoices):
    """A member's role in a team (`accounts/access.py` says what each may do)."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    DEVELOPER = "developer", _("Developer")
    BILLING = "billing", _("Billing")


class Membership(models.Model):
    """A user's membership of a team."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role, default=Role.DEVELOPER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "team"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} as {self.role}"


class Invitation(models.Model):
    """An invitation of an email address: open until accepted, withdrawn or expired.

    The token is in the email only; the row has its digest.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = models.CharField(max_length=16, choices=Role)
    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    invited_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "team",
                Lower("email"),
                condition=models.Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_one_open",
            ),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="invitation_role_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.team} as {self.role}"


class ApiKey(models.Model):
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


class AuditEntry(models.Model):
    """An action and its actor in a team, with the names of that moment; never changed."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="audit_entries")
    actor = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    actor_label = models.CharField(
        max_length=254,
        help_text="The actor's email address at that time, or the key that acted for the team.",
    )
    action = models.CharField(max_length=60, help_text="key.created, member.removed, ...")
    subject = models.CharField(max_length=254, blank=True, help_text="The object of the action.")
    detail = models.JSONField(default=dict, blank=True)
    ip_address = models.GenericIPAddressField("IP address", null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "audit log entry"
        verbose_name_plural = "audit log"
        indexes = [
            models.Index(fields=["team", "-created_at", "-id"], name="audit_by_team"),
            models.Index(fields=["team", "action", "-created_at", "-id"], name="audit_by_action"),
            models.Index(
                fields=["team", "actor_label", "-created_at", "-id"], name="audit_by_actor"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.actor_label}: {self.action} {self.subject}"


class NotificationSettings(models.Model):
    """The emails that a user wants. No row: all of them, with the default thresholds."""

    user = models.OneToOneField(
        User, on_delete=models.CASCADE, primary_key=True, related_name="notification_settings"
    )
    low_balance = models.BooleanField(default=True)
    low_balance_nanos = models.PositiveBigIntegerField(
        default=5_000_000_000, help_text="The balance below which an alert is sent."
    )
    budget_reached = models.BooleanField(default=True)
    key_created = models.BooleanField(default=True)
    new_sign_in = models.BooleanField(default=True)

    class Meta:
        verbose_name = verbose_name_plural = "notification settings"

    def __str__(self) -> str:
        return f"{self.user}"

    @classmethod
    def of(cls, user: User) -> "NotificationSettings":
        """Return the user's settings; the defaults, unsaved, for a user who has chosen nothing."""
        return cls.objects.filter(user=user).first() or cls(user=user)


class SentNotice(models.Model):
    """An email that was sent. Its reference names the event, so that nobody gets it twice."""

    class Kind(models.TextChoices):
        """The kinds of email that are sent at most once an event."""

        LOW_BALANCE = "low_balance"
        BUDGET_REACHED = "budget_reached"
        KEY_CREATED = "key_created"
        AUTO_TOP_UP = "auto_top_up"
        AUTO_TOP_UP_PROBLEM = "auto_top_up_problem"
        REFUND_MADE = "refund_made"
        KEYS_PAUSED = "keys_paused"
        PLAN_PAYMENT_FAILED = "plan_payment_failed"
        PLAN_ENDED = "plan_ended"
        PRICE_CHANGE = "price_change"
        WEBHOOK_DISABLED = "webhook_disabled"
        KEY_FLAGGED = "key_flagged"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", db_index=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=20, choices=Kind)
    reference = models.CharField(max_length=120)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "sent email"
        constraints = [
            models.UniqueConstraint(fields=["user", "kind", "reference"], name="notice_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.user}: {self.reference}"
