"""The Django app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Names the app, and refuses to start with payments that anybody could announce."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Raises ImproperlyConfigured for a Stripe key without its webhook secret."""
        from billing.stripe_api.client import require_secrets  # noqa: PLC0415  (settings first)

        require_secrets()
