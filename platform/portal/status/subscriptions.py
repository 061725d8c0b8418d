"""Subscriptions to status updates: confirmed by email, ended with one click.

An address is stored only once its owner has confirmed it: until then it is in a signed link.
"""

from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.urls import reverse

from api.models import StatusSubscriber
from portal.emails import sending

CONFIRM_WITHIN = timedelta(days=2)
_CONFIRM = "status subscription"
_UNSUBSCRIBE = "status unsubscription"


def send_confirmation(email: str) -> None:
    """Send a link that subscribes the address. Raise OSError or SMTPException."""
    url = _url("status_confirm", signing.dumps(email.lower(), salt=_CONFIRM))
    sending.send("status_confirm", email, {"url": url, "days": CONFIRM_WITHIN.days})


def confirmed_email(token: str) -> str | None:
    """Return the address in a link's token, or None if it is forged or too old."""
    try:
        return str(signing.loads(token, salt=_CONFIRM, max_age=CONFIRM_WITHIN))
    except signing.BadSignature:
        return None


def subscribe(email: str) -> None:
    """Store a confirmed address, if it isn't stored yet."""
    StatusSubscriber.objects.get_or_create(email=email)


def unsubscribe_url(subscriber: StatusSubscriber) -> str:
    """Return the link that ends a subscription, for as long as it lasts."""
    return _url("status_unsubscribe", signing.dumps(subscriber.email, salt=_UNSUBSCRIBE))


def subscribed_email(token: str) -> str | None:
    """Return the address in an unsubscribe link's token, or None if it is forged."""
    try:
        return str(signing.loads(token, salt=_UNSUBSCRIBE))
    except signing.BadSignature:
        return None


def unsubscribe(email: str) -> None:
    """Delete the address."""
    StatusSubscriber.objects.filter(email=email).delete()


def _url(name: str, token: str) -> str:
    return f"{settings.BASE_URL.rstrip('/')}{reverse(name, args=[token])}"
