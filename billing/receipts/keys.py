"""The keys that sign: JWS in compact form (RFC 7515) with Ed25519 (RFC 8037).

The first key is created when the first statement is signed. `rotate` publishes the next one, which
signs only after every cached copy of the JWKS has it. Public keys stay published for good, as
receipts don't expire; a private key is deleted at the next rotation after the one that retired it.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.utils import timezone

from accounts import encryption
from billing.models import SigningKey

log = structlog.get_logger(__name__)

JWKS_SECONDS = 3600
# How long a new key is published before it signs.
LEAD = timedelta(seconds=2 * JWKS_SECONDS)
MEDIA_TYPE = "application/jose"


class SigningUnavailableError(Exception):
    """No statement can be signed: the private key can't be decrypted, or not be stored."""


def sign(claims: Mapping[str, Any], kind: str) -> str:
    """Return a compact JWS of `claims`; `kind` is its `typ`, which tells statements apart.

    Raise SigningUnavailableError.
    """
    return sign_all([claims], kind)[0]


def sign_all(statements: Iterable[Mapping[str, Any]], kind: str) -> list[str]:
    """Return the compact JWS of each statement's claims, all by one key.

    Raise SigningUnavailableError.
    """
    try:
        key = current_key()
        secret = encryption.decrypt(key.encrypted_private_key, _purpose(key.pk))
    except (encryption.DecryptionError, ImproperlyConfigured) as error:
        log.error("signing_key_unavailable", error=str(error))
        raise SigningUnavailableError(str(error)) from error
    private_key = Ed25519PrivateKey.from_private_bytes(_decoded(secret))
    header = _encoded(_json({"alg": "EdDSA", "kid": key.pk, "typ": kind}))
    signed = (f"{header}.{_encoded(_json(claims))}" for claims in statements)
    return [f"{each}.{_encoded(private_key.sign(each.encode()))}" for each in signed]


def jwks() -> dict[str, Any]:
    """Return the published keys as a JWK set (RFC 7517), the newest first."""
    published = SigningKey.objects.filter(withdrawn_at=None).order_by("-created_at")
    return {
        "keys": [
            {**_public_jwk(key.public_key), "kid": key.pk, "use": "sig", "alg": "EdDSA"}
            for key in published
        ]
    }


def current_key() -> SigningKey:
    """Return the key that signs now, which is created if there is none.

    Raise ImproperlyConfigured if ENCRYPTION_KEYS is empty.
    """
    return _signing(timezone.now()) or _create_first()


def rotate(*, at_once: bool = False) -> SigningKey:
    """Create the next key, which signs after `LEAD` or at once, and return it.

    Delete the private keys that retired before. Raise ImproperlyConfigured.
    """
    with transaction.atomic():
        _lock()
        now = timezone.now()
        current = _signing(now)
        retired = SigningKey.objects.filter(signs_from__lt=now).exclude(encrypted_private_key="")
        retired.exclude(pk=current and current.pk).update(encrypted_private_key="")
        return _create(now if at_once or current is None else now + LEAD)


def withdraw(key_id: str) -> bool:
    """Stop using and publishing a key whose private half leaked; return whether there is one.

    What it signed can be asked for again, and is then signed with another key.
    """
    with transaction.atomic():
        _lock()
        found = SigningKey.objects.filter(pk=key_id, withdrawn_at=None)
        return bool(found.update(withdrawn_at=timezone.now(), encrypted_private_key=""))


def reencrypt() -> int:
    """Encrypt the private keys with the newest encryption key; return how many changed.

    Raise accounts.encryption.DecryptionError.
    """
    changed = 0
    with transaction.atomic():
        for key in SigningKey.objects.select_for_update().exclude(encrypted_private_key=""):
            if not encryption.is_current(key.encrypted_private_key):
                secret = encryption.decrypt(key.encrypted_private_key, _purpose(key.pk))
                key.encrypted_private_key = encryption.encrypt(secret, _purpose(key.pk))
                key.save(update_fields=["encrypted_private_key"])
                changed += 1
    return changed


def _signing(now: datetime) -> SigningKey | None:
    usable = SigningKey.objects.filter(withdrawn_at=None, signs_from__lte=now)
    return usable.exclude(encrypted_private_key="").order_by("-signs_from").first()


def _create_first() -> SigningKey:
    with transaction.atomic():
        _lock()
        now = timezone.now()
        return _signing(now) or _create(now)


def _create(signs_from: datetime) -> SigningKey:
    private_key = Ed25519PrivateKey.generate()
    public_key = _encoded(private_key.public_key().public_bytes_raw())
    key_id = _encoded(sha256(_json(_public_jwk(public_key))).digest())
    secret = _encoded(private_key.private_bytes_raw())
    key = SigningKey.objects.create(
        pk=key_id,
        public_key=public_key,
        encrypted_private_key=encryption.encrypt(secret, _purpose(key_id)),
        signs_from=signs_from,
    )
    log.info("signing_key_created", key_id=key_id, signs_from=signs_from.isoformat())
    return key


def _lock() -> None:
    """Let no other transaction create or retire a key until this one ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('billing_signingkey'))")


def _public_jwk(public_key: str) -> dict[str, str]:
    """Return the members that RFC 7638 hashes, in its order."""
    return {"crv": "Ed25519", "kty": "OKP", "x": public_key}


def _purpose(key_id: str) -> str:
    return f"signing key {key_id}"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
