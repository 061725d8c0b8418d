"""The settings required at start-up. Everything that is missing is reported at once."""

from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.http.request import validate_host

from billing import stripe_settings
from config import env

# Without these, a process would use the addresses and secrets of a developer's machine.
REQUIRED = {
    "DATABASE_URL": "PostgreSQL's address",
    "REDIS_URL": "Valkey's address",
    "SECRET_KEY": "50 random characters",
    "API_KEY_PEPPERS": "1:<64 hex digits>",
    "ENCRYPTION_KEYS": "1:<64 hex digits>",
}


def problems() -> list[str]:
    """Return the reasons why this process can't start, one per line."""
    found = [
        f"{name} is missing ({meaning})."
        for name, meaning in REQUIRED.items()
        if not env.text(name)
    ]
    missing = {line.partition(" ")[0] for line in found}
    found += [
        f"{message.msg} {message.hint or ''}".strip()
        for message in checks.run_checks(tags=[checks.Tags.security])
        # A missing variable is already reported above.
        if message.level >= checks.ERROR and not any(name in message.msg for name in missing)
    ]
    try:
        stripe_settings.require_secrets()
    except ImproperlyConfigured as error:
        found.append(str(error))
    host = urlsplit(settings.BASE_URL).hostname or ""
    if not settings.DEBUG and not validate_host(host, settings.ALLOWED_HOSTS):
        found.append(f"ALLOWED_HOSTS doesn't contain {host}, the host of BASE_URL.")
    return found


def require_settings() -> None:
    """Raise ImproperlyConfigured, with everything that is missing, if anything is."""
    if found := problems():
        lines = "".join(f"\n  - {line}" for line in found)
        raise ImproperlyConfigured(
            f"Settings are incomplete (platform/docs/operations.md, *Settings*):{lines}"
        )
