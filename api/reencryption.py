"""Re-encryption of secrets that are stored as plaintext or under an older key, with the newest key.

Each row is changed in its own transaction and under its lock, so this can run at any time, run
repeatedly, or be killed.
"""

from collections.abc import Callable
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import transaction

from accounts import encryption
from api import alert_targets, upstream_keys
from api.models import AlertTarget, UpstreamKey
from billing.receipts import keys as signing_keys

# The fields of an authenticator's data that hold seeds; recovery codes of old may be in a list.
_SEEDS = ("secret", "seed", "migrated_codes")


def reencrypt() -> int:
    """Encrypt second factors, upstream keys, alert secrets and signing keys with the newest key.

    Return how many rows changed.

    Raise accounts.encryption.DecryptionError if a row's key is not configured any more.
    """
    keys = UpstreamKey.objects.exclude(encrypted_key="").order_by("pk")
    targets = AlertTarget.objects.exclude(encrypted_secret="").order_by("pk")
    return (
        sum(map(_reencrypt_authenticator, Authenticator.objects.order_by("pk")))
        + sum(map(_reencrypt_upstream_key, keys))
        + sum(map(_reencrypt_alert_target, targets))
        + signing_keys.reencrypt()
    )


def decrypt_second_factors() -> int:
    """Store all second factors as plaintext, as releases before encryption expect them."""
    return sum(
        _change(each, lambda text: encryption.decrypt(text, encryption.SECOND_FACTOR))
        for each in Authenticator.objects.order_by("pk")
    )


def _reencrypt_authenticator(authenticator: Authenticator) -> bool:
    def encrypted(text: str) -> str:
        if encryption.is_current(text):
            return text
        plaintext = encryption.decrypt(text, encryption.SECOND_FACTOR)
        return encryption.encrypt(plaintext, encryption.SECOND_FACTOR)

    return _change(authenticator, encrypted)


def _change(authenticator: Authenticator, change: Callable[[str], str]) -> bool:
    """Change the secrets of one authenticator; return whether any was changed."""
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().filter(pk=authenticator.pk).first()
        if row is None:
            return False  # removed in the meantime
        seeds = {name: row.data[name] for name in _SEEDS if name in row.data}
        changed: dict[str, Any] = {
            name: [change(code) for code in seed] if isinstance(seed, list) else change(seed)
            for name, seed in seeds.items()
        }
        if changed == seeds:
            return False
        row.data = {**row.data, **changed}
        row.save(update_fields=["data"])
    return True


def _reencrypt_upstream_key(key: UpstreamKey) -> bool:
    with transaction.atomic():
        keys = UpstreamKey.objects.select_related("upstream").select_for_update(of=("self",))
        row = keys.filter(pk=key.pk).first()
        if row is None or not row.encrypted_key or encryption.is_current(row.encrypted_key):
            return False
        base_url = row.upstream.base_url
        secret = upstream_keys.read_key(base_url, row.encrypted_key, "")
        row.encrypted_key = upstream_keys.encrypt_key(secret, base_url)
        row.save(update_fields=["encrypted_key"])
    return True


def _reencrypt_alert_target(target: AlertTarget) -> bool:
    with transaction.atomic():
        row = AlertTarget.objects.select_for_update().filter(pk=target.pk).first()
        if row is None or not row.encrypted_secret or encryption.is_current(row.encrypted_secret):
            return False
        alert_targets.store_secret(row, alert_targets.read_secret(row))
        row.save(update_fields=["encrypted_secret"])
    return True
