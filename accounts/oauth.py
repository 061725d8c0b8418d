"""What device sign-ins and app authorizations share: errors, digests, and their keys."""

import hashlib
import secrets
from datetime import datetime

from django.db.models.functions import Now

from accounts import api_keys, audit, key_actions
from accounts.access import Actor, membership_in
from accounts.models import ApiKey, AppAuthorization, DeviceSignIn, Team, User

Approval = DeviceSignIn | AppAuthorization


class OAuthError(Exception):
    """An error of a token endpoint. `code` is its name in the RFC, `status` that of the answer."""

    def __init__(self, code: str, description: str = "", status: int = 400) -> None:
        super().__init__(description or code)
        self.code, self.description, self.status = code, description, status


def new_token() -> str:
    """Return 256 random bits as 43 characters that are safe in URLs and forms."""
    return secrets.token_urlsafe(32)


def digest_of(token: str) -> bytes:
    """Return the SHA-256 of a token, which reveals nothing of 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def create_approved_key(
    actor: Actor,
    name: str,
    *,
    source: str,
    prefix: str,
    code_expires_at: datetime,
    budgets: api_keys.KeyBudgets,
    ip_address: str,
) -> ApiKey:
    """Create a key of the actor's team for a program, which lapses with the code to fetch it.

    `source` is the program, `prefix` the service's; `budgets` are in nano-dollars. Call it in the
    transaction of the approval. Raise TooManyKeysError.
    """
    api_keys.require_room(actor.team)
    key, _unused = api_keys.create_key(
        actor.team,
        actor.user,
        name,
        prefix=prefix,
        expires_at=code_expires_at,
        source=source,
        **budgets,
    )
    detail = {"scope": str(key.scope), "source": source}
    audit.record(actor, "key.created", str(key), detail=detail, ip_address=ip_address)
    return key


def lock_approved_key(approval: Approval) -> ApiKey | None:
    """Return the approved key, locked; None if it was revoked or its member may not have it now."""
    if approval.key_id is None:
        return None
    rows = ApiKey.objects.select_for_update(of=("self",)).select_related("team", "created_by")
    key = rows.filter(pk=approval.key_id, revoked_at__isnull=True).first()
    if key is None or key.created_by is None or not key.created_by.is_active:
        return None
    membership = membership_in(key.created_by, key.team)
    if membership is None:
        return None
    actor = Actor(team=key.team, user=key.created_by, role=membership.role)
    return key if actor.may_create_keys() else None


def lock_unfetched_key(approval: Approval) -> ApiKey | None:
    """Return the key that an approval's code is exchanged for, locked.

    None also while it is frozen, and once it was rotated: its successor is in its place.
    """
    key = lock_approved_key(approval)
    if key is None or key.frozen_at is not None:
        return None
    return None if ApiKey.objects.filter(replaces_id=key.pk).exists() else key


def end_of(key: ApiKey, approval: Approval, approved: datetime | None) -> datetime | None:
    """Return when a key ends that is fetched now: as approved, unless that was changed since."""
    return approved if key.expires_at == approval.expires_at else key.expires_at


def revoke_approved_keys(team: Team, user: User) -> None:
    """Revoke the keys that a member approved for programs, as the membership ends.

    Keys made by hand belong to the team and stay. Call it in the transaction of the removal.
    """
    approved = ApiKey.objects.filter(team=team, created_by=user, revoked_at__isnull=True)
    approved.exclude(source="").update(revoked_at=Now())


def revoke_leaked_key(key: ApiKey, *, ip_address: str | None) -> None:
    """Revoke a key whose code or token was used twice, once of them by a thief."""
    detail = {"reason": "a token was used twice"}
    key_actions.revoke_key(Actor(team=key.team), key, detail=detail, ip_address=ip_address)
