"""The Django app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Name the app, register its receivers, and refuse to start if events could be forged."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Raise ImproperlyConfigured for a Stripe key without its webhook secret."""
        from billing import receivers  # noqa: F401, PLC0415  (models first)
        from billing.stripe_settings import require_secrets  # noqa: PLC0415  (settings first)

        require_secrets()
