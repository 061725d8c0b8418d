"""Programs that get their API key from a page where a member approves it.

A device signs in with a code that its user confirms (RFC 8628), an app is sent a code with which it
fetches its key (RFC 7636). Either way the key is an `ApiKey` from the approval on, whose secret is
first known once the program has fetched it. Codes and tokens are stored as digests only.
"""

from datetime import datetime
from typing import Any

from django.db import models
from django.utils import timezone


class RenewableKey(models.Model):
    """The columns of an API key that a program got by an approval. Keys made by hand have neither.

    A key that is renewable has an access token for its secret: `expires_at` is the token's, and
    `renewable_until` the key's own.
    """

    source = models.CharField(
        max_length=255,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="The program that it was approved for: an application's name or host.",
    )
    renewable_until = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="A program that signed in renews its token until then.",
    )

    expires_at: Any

    class Meta:
        abstract = True

    @property
    def ends_at(self) -> datetime | None:
        """When the key ends, or with it the program's sign-in; None for never."""
        ends_at: datetime | None = self.renewable_until or self.expires_at
        return ends_at


class DeviceSignIn(models.Model):
    """A device that asks to sign in, or has: pending, denied, or approved with its key.

    `device_digest` is of the code that the device polls with, `user_code_digest` of the one that a
    person types, null once decided. `family_digest` is of the part that all refresh tokens of the
    sign-in begin with, `refresh_digest` of the valid token.
    """

    device_digest = models.BinaryField(max_length=32, unique=True, editable=False)
    user_code_digest = models.BinaryField(max_length=32, unique=True, null=True, editable=False)
    client = models.CharField(max_length=80)
    user_agent = models.CharField(max_length=200, blank=True)
    ip_address = models.GenericIPAddressField("IP address")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(help_text="The codes are valid until then.")
    interval_seconds = models.PositiveSmallIntegerField(default=5, db_default=5)
    polled_at = models.DateTimeField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    key: "models.OneToOneField[Any]" = models.OneToOneField(
        "accounts.ApiKey",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="device_sign_in",
        help_text="Empty: not approved.",
    )
    ends_at = models.DateTimeField(null=True, blank=True, help_text="The approved end of the key.")
    exchanged_at = models.DateTimeField(null=True, blank=True)
    family_digest = models.BinaryField(max_length=32, unique=True, null=True, editable=False)
    refresh_digest = models.BinaryField(max_length=32, null=True, editable=False)
    refreshed_from = models.GenericIPAddressField("renewed from", null=True, blank=True)

    class Meta:
        verbose_name = "device sign-in"
        indexes = [models.Index(fields=["expires_at"], name="device_by_expiry")]

    def __str__(self) -> str:
        return f"{self.client} from {self.ip_address}"


class AppAuthorization(models.Model):
    """A one-time code with which an app fetches the key that a member approved.

    `challenge` is the SHA-256 of the app's verifier (PKCE, method S256).
    """

    digest = models.BinaryField(max_length=32, unique=True, editable=False)
    challenge = models.BinaryField(max_length=32, editable=False)
    key: "models.OneToOneField[Any]" = models.OneToOneField(
        "accounts.ApiKey", on_delete=models.CASCADE, related_name="app_authorization"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(help_text="The code is valid until then.")
    key_expires_at = models.DateTimeField(
        null=True, blank=True, help_text="The approved end of the key. Empty: never."
    )
    exchanged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "app authorization"

    def __str__(self) -> str:
        return f"{self.key}"
