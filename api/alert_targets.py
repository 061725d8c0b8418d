"""The addresses and secrets of alert targets: what is valid, and how it is stored.

A secret is encrypted for its target's channel and address, as upstreams' keys are: after a change
of the address it can't be decrypted. Hosts are limited by UPSTREAM_HOSTS.
"""

from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from accounts import encryption
from accounts.webhooks.signing import signing_key
from api.models import AlertTarget
from api.upstream_hosts import problem_with

Channel = AlertTarget.Channel


def check_address(channel: str, address: str) -> None:
    """Raise ValidationError for an address that this channel can't send alerts to."""
    if channel == Channel.EMAIL:
        validate_email(address)
    elif channel == Channel.WEBHOOK:
        _check_url(address)
    elif address:
        raise ValidationError("Leave it empty: Slack's address is the secret URL below.")


def check_secret(channel: str, secret: str) -> None:
    """Raise ValidationError for a text that is not a secret of this channel."""
    if channel == Channel.EMAIL:
        raise ValidationError("An email address has no secret.")
    if channel == Channel.SLACK:
        _check_url(secret)
    else:
        try:
            signing_key(secret)
        except ValueError as error:
            raise ValidationError(str(error)) from None


def store_secret(target: AlertTarget, secret: str) -> None:
    """Put a secret into a target, encrypted; the address of a Slack target is its URL's origin."""
    if target.channel == Channel.SLACK:
        parts = urlsplit(secret)
        target.address = f"{parts.scheme}://{parts.netloc}"
    target.encrypted_secret = encryption.encrypt(secret, _purpose(target))


def read_secret(target: AlertTarget) -> str:
    """Return a target's secret, or an empty text if it has none.

    Raise accounts.encryption.DecryptionError if it was entered for another address, or its
    encryption key is gone.
    """
    if not target.encrypted_secret:
        return ""
    return encryption.decrypt(target.encrypted_secret, _purpose(target))


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError
    except ValueError:
        raise ValidationError("This is not a URL.") from None
    is_url = parts.scheme in {"http", "https"} and parts.hostname and url.isascii()
    if not is_url or any(each.isspace() or not each.isprintable() for each in url):
        raise ValidationError("This is not an http or https URL.")
    if parts.username is not None or parts.fragment:
        raise ValidationError("Leave out user, password and fragment.")
    if problem := problem_with(url):
        raise ValidationError(problem)


def _purpose(target: AlertTarget) -> str:
    return f"alert secret of {target.channel} {target.address}"
