"""Actions of members, management keys and staff on keys, each with its entry in the audit log.

`accounts/api_keys.py` does the work. Callers check permissions first (`accounts/access.py`). An
entry names the fields that changed, never a key's plaintext.
"""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from accounts import api_keys, audit
from accounts.access import Actor
from accounts.api_keys import KeyRules
from accounts.models import ApiKey
from accounts.webhooks.events import publish_key_created, publish_key_frozen


def create_key(
    actor: Actor, name: str, *, ip_address: str | None, **rules: Any
) -> tuple[ApiKey, str]:
    """Create a key of the actor's team and return it with its plaintext.

    `rules` are those of `api_keys.create_key`. Raise TooManyKeysError, and ValueError for an
    invalid prefix.
    """
    with transaction.atomic():
        api_keys.require_room(actor.team)
        key, plaintext = api_keys.create_key(actor.team, actor.user, name, **rules)
        detail = {"scope": str(key.scope)}
        audit.record(actor, "key.created", str(key), detail=detail, ip_address=ip_address)
        publish_key_created(key)
    return key, plaintext


def update_key(actor: Actor, key: ApiKey, rules: KeyRules, *, ip_address: str | None) -> ApiKey:
    """Change the given fields and return the updated key.

    Fields that keep their value are not logged. Raise KeyNotActiveError.
    """
    changed = sorted(name for name, value in rules.items() if getattr(key, name) != value)
    with transaction.atomic():
        key = api_keys.update_key(key, rules)
        if changed:
            detail = {"fields": changed}
            audit.record(actor, "key.updated", str(key), detail=detail, ip_address=ip_address)
    return key


def rotate_key(
    actor: Actor, key: ApiKey, grace_seconds: int, *, ip_address: str | None
) -> tuple[ApiKey, str]:
    """Replace a key and return the successor with its plaintext.

    Raise KeyAlreadyRotatedError, KeyNotActiveError, TooManyKeysError if both are valid for a
    while and the team has no room for another key, and ValueError for a grace out of range.
    """
    with transaction.atomic():
        if grace_seconds:
            api_keys.require_room(actor.team)
        successor, plaintext = api_keys.rotate_key(key, grace_seconds)
        detail = {"successor": str(successor), "grace_seconds": grace_seconds}
        audit.record(actor, "key.rotated", str(key), detail=detail, ip_address=ip_address)
        publish_key_created(successor)
    return successor, plaintext


def freeze_key(actor: Actor, key: ApiKey, *, ip_address: str | None) -> ApiKey:
    """Reject a key from its next request on, until its team unfreezes it.

    Raise KeyNotActiveError.
    """
    with transaction.atomic():
        key = api_keys.freeze_key(key, is_by_team=True)
        audit.record(actor, "key.frozen", str(key), ip_address=ip_address)
        publish_key_frozen(key, "member")
    return key


def unfreeze_key(actor: Actor, key: ApiKey, *, ip_address: str | None) -> ApiKey:
    """Accept a key again that the team froze.

    Raise KeyNotActiveError, KeyFrozenError if staff froze it, and TooManyKeysError if the team has
    no room for another valid key.
    """
    with transaction.atomic():
        api_keys.require_room(actor.team)
        key = api_keys.unfreeze_key(key, is_by_team=True)
        audit.record(actor, "key.unfrozen", str(key), ip_address=ip_address)
    return key


def revoke_key(
    actor: Actor | audit.Staff,
    key: ApiKey,
    *,
    detail: Mapping[str, object] | None = None,
    ip_address: str | None = None,
) -> ApiKey:
    """Revoke a key from its next request on. A second revocation changes and logs nothing."""
    with transaction.atomic():
        # Locked, so that only one of two concurrent revocations is logged.
        locked = ApiKey.objects.select_for_update().get(pk=key.pk)
        if locked.revoked_at is None:
            subject = str(locked)
            audit.record(actor, "key.revoked", subject, detail=detail, ip_address=ip_address)
        return api_keys.revoke_key(key)
