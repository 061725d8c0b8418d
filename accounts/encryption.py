"""Encryption of secrets that must be readable again: upstream keys and second factors.

API keys and passwords are only compared, so digests of them suffice. These secrets are used, so
they are encrypted: AES-256-GCM under the newest of ENCRYPTION_KEYS, with a random 96-bit nonce and
the secret's purpose as associated data, so that a ciphertext is useless anywhere else. A copy of
the database reveals none of them.

A ciphertext is `enc:<version of the key>:<nonce and AES-GCM's output in base64>`. Any other text is
plaintext of an earlier release, which `manage.py encrypt_secrets` encrypts.
"""

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

KEY_BYTES = 32
SECOND_FACTOR = "second factor"  # the purpose of TOTP and recovery-code seeds
_NONCE_BYTES = 12  # NIST SP 800-38D, section 8.2.2
_MARK = "enc"

MISSING_KEY = (
    "ENCRYPTION_KEYS is empty, so no upstream key and no second factor can be stored or read. Set "
    "it to '1:<64 hex digits>', such as from "
    "`python -c 'import secrets; print(secrets.token_hex(32))'`, and keep it: what it encrypted "
    "can't be read without it."
)


class DecryptionError(Exception):
    """A ciphertext can't be decrypted: its key is missing, or it belongs to another place."""


def encrypt(text: str, purpose: str) -> str:
    """Return the ciphertext of a secret under the newest key.

    Raise ImproperlyConfigured if no key is set.
    """
    keys = _keys()
    version = max(keys)
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = AESGCM(keys[version]).encrypt(nonce, text.encode(), purpose.encode())
    return f"{_MARK}:{version}:{base64.b64encode(nonce + sealed).decode()}"


def decrypt(stored: str, purpose: str) -> str:
    """Return the plaintext of a ciphertext; return any other text unchanged.

    Raise DecryptionError if its key is not in ENCRYPTION_KEYS, or it was encrypted for another
    purpose.
    """
    if not is_encrypted(stored):
        return stored
    _, version, encoded = stored.split(":", 2)
    key = settings.ENCRYPTION_KEYS.get(int(version))
    if key is None:
        message = f"Version {version} of ENCRYPTION_KEYS, which encrypted it, is missing."
        raise DecryptionError(message)
    try:
        sealed = base64.b64decode(encoded, validate=True)
        text = AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], purpose.encode())
    except (InvalidTag, ValueError):
        raise DecryptionError("It was not encrypted with this key for this purpose.") from None
    return text.decode()


def is_encrypted(stored: str) -> bool:
    """Return whether a stored text is one of our ciphertexts."""
    mark, _, rest = stored.partition(":")
    version, separator, _ = rest.partition(":")
    return mark == _MARK and bool(separator) and version.isascii() and version.isdigit()


def is_current(stored: str) -> bool:
    """Return whether a stored text is encrypted under the newest key."""
    return is_encrypted(stored) and int(stored.split(":", 2)[1]) == max(_keys())


def _keys() -> dict[int, bytes]:
    keys: dict[int, bytes] = settings.ENCRYPTION_KEYS
    if not keys:
        raise ImproperlyConfigured(MISSING_KEY)
    return keys
