"""The secrets of upstreams' keys: encrypted in the keys' rows, or in environment variables.

A key is encrypted for the base URL that it was typed for, so that a row which comes to name another
address has no key there. An environment variable can be named by a catalogue file only, and has to
begin with `UPSTREAM_`: no other variable (SECRET_KEY, Stripe's key) can be sent anywhere.
"""

import os
from datetime import datetime
from typing import TYPE_CHECKING

from accounts import encryption

if TYPE_CHECKING:
    from api.models import Upstream, UpstreamKey

VARIABLE_PREFIX = "UPSTREAM_"
LAST_CHARACTERS = 4
# Of a shorter key, four characters would be too much to show.
_SHORTEST_TO_SHOW = 16


def read_key(base_url: str, encrypted_key: str, api_key_env: str) -> str:
    """Return an upstream's key, or an empty text where it has none.

    Raise accounts.encryption.DecryptionError for one that was typed for another address, or whose
    encryption key is gone.
    """
    if encrypted_key:
        return encryption.decrypt(encrypted_key, _purpose(base_url))
    return os.environ.get(variable_of(api_key_env), "") if api_key_env else ""


def secret_of(upstream: "Upstream", key: "UpstreamKey | None" = None) -> str:
    """Return what to authenticate with at an upstream: a key's secret, or else the first one's.

    The first is that of the oldest key that is enabled and has a secret; an upstream without any is
    called with an empty text. Raise accounts.encryption.DecryptionError as `read_key` does.
    """
    if key is None:
        usable = [each for each in upstream.keys.all() if each.is_enabled and each.has_secret]
        key = min(usable, key=lambda each: each.pk, default=None)
    return read_key(upstream.base_url, key.encrypted_key, key.api_key_env) if key else ""


def encrypt_key(key: str, base_url: str) -> str:
    """Return a key as it is stored in the row of an upstream with this base URL."""
    return encryption.encrypt(key, _purpose(base_url))


def store_secret(key: "UpstreamKey", secret: str, now: datetime) -> None:
    """Set the columns of a key to a secret that was typed for its upstream's base URL.

    The row is not saved. Its variable is for the address of its catalogue file: it is forgotten.
    """
    key.encrypted_key = encrypt_key(secret, key.upstream.base_url)
    key.key_end, key.key_set_at, key.api_key_env = end_of(secret), now, ""


def end_of(key: str) -> str:
    """Return what may be shown of a key: its last characters, or nothing of a short one."""
    return key[-LAST_CHARACTERS:] if len(key) >= _SHORTEST_TO_SHOW else ""


def variable_of(name: str) -> str:
    """Return the environment variable that a row names.

    Rows from before the prefix was asked for name theirs without it; it is read with the prefix.
    """
    return name if name.startswith(VARIABLE_PREFIX) else f"{VARIABLE_PREFIX}{name}"


def _purpose(base_url: str) -> str:
    return f"upstream key for {base_url}"
