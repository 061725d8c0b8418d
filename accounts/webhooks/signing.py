"""Signing secrets and signatures of Standard Webhooks (specification, "Signature scheme")."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

SECRET_PREFIX = "whsec_"  # noqa: S105  # what every signing secret begins with
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
_NEW_SECRET_BYTES = 32


def new_secret() -> str:
    """Return a random signing secret, `whsec_<base64>`."""
    key = base64.b64encode(secrets.token_bytes(_NEW_SECRET_BYTES)).decode()
    return f"{SECRET_PREFIX}{key}"


def signing_key(secret: str) -> bytes:
    """Return the bytes of a signing secret. Raise ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not (secret.startswith(SECRET_PREFIX) and MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES):
        raise ValueError(
            f"A signing secret is {SECRET_PREFIX} and {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} "
            "bytes in base64."
        )
    return key


def signature_headers(
    keys: Iterable[bytes], message_id: str, now: datetime, body: bytes
) -> dict[str, str]:
    """Return the headers that prove who sent a body, with a signature by each of the keys."""
    timestamp = str(int(now.timestamp()))
    signed = b".".join([message_id.encode(), timestamp.encode(), body])
    digests = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{digest.decode()}" for digest in digests),
    }
