"""Upstreams' keys: encrypted in their rows, or in environment variables.

A key is encrypted for the base URL that it was typed for, so that a row which comes to name another
address has no key there. An environment variable can be named by a catalogue file only, and has to
begin with `UPSTREAM_`: no other variable (SECRET_KEY, Stripe's key) can be sent anywhere.
"""

import os

from accounts import encryption

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


def encrypt_key(key: str, base_url: str) -> str:
    """Return a key as it is stored in the row of an upstream with this base URL."""
    return encryption.encrypt(key, _purpose(base_url))


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
