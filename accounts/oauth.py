"""What OAuth's grants of devices and apps share: errors, digests, and how their keys end."""

import hashlib
import secrets

from django.db.models.functions import Now

from accounts import audit
from accounts.access import Actor
from accounts.models import ApiKey, Team, User


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


def revoke_approved_keys(team: Team, user: User) -> None:
    """Revoke the keys that a member approved for programs, as the membership ends.

    Keys made by hand belong to the team and stay. Call it in the transaction of the removal.
    """
    approved = ApiKey.objects.filter(team=team, created_by=user, revoked_at__isnull=True)
    approved.exclude(source="").update(revoked_at=Now())


def revoke_leaked_key(key: ApiKey, *, ip_address: str | None) -> None:
    """Revoke a key of which a code or token was used twice: one of the two was stolen."""
    if ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now()):
        detail = {"reason": "a token was used twice"}
        actor = Actor(team=key.team)
        audit.record(actor, "key.revoked", str(key), detail=detail, ip_address=ip_address)
