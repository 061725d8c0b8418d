"""The operator's settings for Stripe: whether payments are enabled, and in which mode."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

MIN_WEBHOOK_SECRET_LENGTH = 16


def is_enabled() -> bool:
    """Tell whether payments are configured."""
    return bool(settings.STRIPE_SECRET_KEY)


def is_live() -> bool:
    """Tell whether the secret key is one of Stripe's live mode, so that real money moves."""
    key: str = settings.STRIPE_SECRET_KEY
    return key.startswith(("sk_live_", "rk_live_"))


def require_secrets() -> None:
    """Raise ImproperlyConfigured if payments are enabled without a usable webhook secret.

    Stripe signs webhooks with an HMAC, which an empty or guessable secret does not protect.
    """
    secret = settings.STRIPE_WEBHOOK_SECRET
    if is_enabled() and not (
        secret.startswith("whsec_") and len(secret.strip()) >= MIN_WEBHOOK_SECRET_LENGTH
    ):
        raise ImproperlyConfigured(
            "STRIPE_SECRET_KEY is set, but STRIPE_WEBHOOK_SECRET is not the `whsec_…` value that "
            "Stripe shows for the webhook endpoint. Set it: without it anyone could forge payment "
            "events."
        )
