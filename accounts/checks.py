"""System checks of the settings that accounts' security depends on, run by every command.

E001 no pepper · E002 a pepper under 32 bytes · E003 a pepper's version out of range · E004 the
SECRET_KEY of the source code outside DEBUG · E005 no encryption key · E006 an encryption key that
is not 32 bytes · W001 (`--deploy`) any Host header is trusted.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks

from accounts.encryption import KEY_BYTES

_SHORTEST_PEPPER_BYTES = (
    32  # as long as SHA-256's result: a shorter key weakens the HMAC (RFC 2104, section 3)
)
_LARGEST_VERSION = 32_767  # ApiKey.pepper_version is a smallint
_GENERATE_HINT = "Generate one with `python -c 'import secrets; print(secrets.token_hex(32))'`."


@checks.register(checks.Tags.security)
def check_peppers(
    app_configs: Sequence[AppConfig] | None, **_options: Any
) -> list[checks.CheckMessage]:
    """Return errors for peppers that are missing, short or misnumbered."""
    peppers: dict[int, bytes] = settings.API_KEY_PEPPERS
    if not peppers:
        return [
            checks.Error(
                "API_KEY_PEPPERS is empty: API keys can't be created or verified.",
                hint=f"Set API_KEY_PEPPERS='1:<64 hex digits>'. {_GENERATE_HINT}",
                id="accounts.E001",
            )
        ]
    found: list[checks.CheckMessage] = [
        checks.Error(
            f"Pepper {version} of API_KEY_PEPPERS is shorter than {_SHORTEST_PEPPER_BYTES} bytes.",
            hint=f"Give it {_SHORTEST_PEPPER_BYTES * 2} hex digits. {_GENERATE_HINT}",
            id="accounts.E002",
        )
        for version, pepper in peppers.items()
        if len(pepper) < _SHORTEST_PEPPER_BYTES
    ]
    found += [
        checks.Error(
            f"Pepper version {version} of API_KEY_PEPPERS is not from 1 to {_LARGEST_VERSION}.",
            hint="Number peppers 1, 2, 3, ...; new keys use the highest.",
            id="accounts.E003",
        )
        for version in peppers
        if not 1 <= version <= _LARGEST_VERSION
    ]
    return found


@checks.register(checks.Tags.security)
def check_encryption_keys(
    app_configs: Sequence[AppConfig] | None, **_options: Any
) -> list[checks.CheckMessage]:
    """Return errors for missing encryption keys and keys that don't fit AES-256."""
    keys: dict[int, bytes] = settings.ENCRYPTION_KEYS
    if not keys:
        return [
            checks.Error(
                "ENCRYPTION_KEYS is empty: upstream keys and second factors can't be stored.",
                hint=f"Set ENCRYPTION_KEYS='1:<64 hex digits>'. {_GENERATE_HINT}",
                id="accounts.E005",
            )
        ]
    return [
        checks.Error(
            f"Key {version} of ENCRYPTION_KEYS is not {KEY_BYTES} bytes long.",
            hint=f"Give it {KEY_BYTES * 2} hex digits. {_GENERATE_HINT}",
            id="accounts.E006",
        )
        for version, key in keys.items()
        if len(key) != KEY_BYTES
    ]


@checks.register(checks.Tags.security)
def check_secret_key(
    app_configs: Sequence[AppConfig] | None, **_options: Any
) -> list[checks.CheckMessage]:
    """Return an error if sessions would be signed with a key that anybody can read."""
    if settings.DEBUG or not settings.SECRET_KEY.startswith("insecure-"):
        return []
    return [
        checks.Error(
            "SECRET_KEY is the default from the source code, so anyone can forge a session.",
            hint="Set SECRET_KEY to at least 50 random characters and keep it.",
            id="accounts.E004",
        )
    ]


@checks.register(checks.Tags.security, deploy=True)
def check_allowed_hosts(
    app_configs: Sequence[AppConfig] | None, **_options: Any
) -> list[checks.CheckMessage]:
    """Return a warning if links in emails could be made to lead to another host."""
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        checks.Warning(
            "ALLOWED_HOSTS contains '*': any Host header is trusted.",
            hint="List the host names of this service.",
            id="accounts.W001",
        )
    ]
