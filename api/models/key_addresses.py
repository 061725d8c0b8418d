"""Where API keys are used from."""

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey


class KeyAddress(models.Model):
    """The IP address of a key's last admitted request.

    `seen_at` is to the hour: it says when to forget the address.
    """

    key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="last_address"
    )
    address = models.GenericIPAddressField("IP address")
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "key addresses"

    def __str__(self) -> str:
        return f"{self.key_id}: {self.address}"
