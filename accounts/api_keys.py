"""Creating, changing, rotating, freezing and revoking API keys, without permissions and audit log.

`accounts/key_actions.py` adds the audit log, `accounts/access.py` decides the permissions. Times
that end a key are the database's, because the gate compares them with the database's clock.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypedDict

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Least, Now
from django.dispatch import Signal
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import keys
from accounts.errors import (
    KeyAlreadyRotatedError,
    KeyFrozenError,
    KeyNotActiveError,
    TooManyKeysError,
)
from accounts.models import ApiKey, Team, User

LONGEST_GRACE_SECONDS = 30 * 24 * 3600
# What "never" means to a program that signs in: its tokens are renewed until then.
LONGEST_SIGN_IN = timedelta(days=3650)

# Neither revoked nor expired, by the database's clock.
ACTIVE = Q(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()), revoked_at__isnull=True)
# Of a program that signed in: whether its token has expired or not, it may get another one.
RENEWABLE = Q(renewable_until__gt=Now(), revoked_at__isnull=True, frozen_at__isnull=True)


class KeyBudgets(TypedDict, total=False):
    """A key's budgets in nano-dollars; None means no budget."""

    budget_day_nanos: int | None
    budget_month_nanos: int | None
    budget_total_nanos: int | None


class KeyRules(KeyBudgets, total=False):
    """A key's changeable fields. A limit a minute of None means the plan's."""

    name: str
    expires_at: datetime | None
    allowed_models: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None


def create_key(
    team: Team,
    created_by: User | None,
    name: str,
    *,
    prefix: str,
    scope: str = ApiKey.Scope.INFERENCE,
    expires_at: datetime | None = None,
    allowed_models: Sequence[str] = (),
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    budget_day_nanos: int | None = None,
    budget_month_nanos: int | None = None,
    budget_total_nanos: int | None = None,
    source: str = "",
) -> tuple[ApiKey, str]:
    """Create a key and return it with its plaintext, which is stored nowhere.

    `prefix` is the service's. Limits are per minute and None means the plan's; budgets are in
    nano-dollars and None means no budget; no `allowed_models` means every model. `source` is the
    program that it was approved for.

    Raise ValueError for an invalid prefix.
    """
    key = ApiKey(
        team=team,
        created_by=created_by,
        name=name,
        scope=scope,
        expires_at=expires_at,
        allowed_models=list(allowed_models),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        budget_day_nanos=budget_day_nanos,
        budget_month_nanos=budget_month_nanos,
        budget_total_nanos=budget_total_nanos,
        source=source,
    )
    return key, save_with_new_secret(key, prefix)


def update_key(key: ApiKey, rules: KeyRules) -> ApiKey:
    """Change the given fields and return the updated key.

    Raise KeyNotActiveError for a key that is revoked or expired: neither is ever reactivated.
    """
    if rules:
        changes: dict[str, Any] = dict(rules)
        with transaction.atomic():
            # Locked, so that no program signs in between, which changes what its expiry means.
            old = active(ApiKey.objects.select_for_update().filter(pk=key.pk)).first()
            if old is None:
                raise KeyNotActiveError(_("The key is revoked or expired. Create a new one."))
            if old.renewable_until is not None and "expires_at" in changes:
                # The row's own expiry is the token's.
                ends_at = changes["expires_at"] or timezone.now() + LONGEST_SIGN_IN
                changes |= {"expires_at": Least("expires_at", ends_at), "renewable_until": ends_at}
            ApiKey.objects.filter(pk=old.pk).update(**changes)
    key.refresh_from_db()
    return key


# Sent with `key` and `successor` in the transaction of a rotation.
key_rotated = Signal()


def rotate_key(key: ApiKey, grace_seconds: int) -> tuple[ApiKey, str]:
    """Replace a key by one with the same rules and return the successor with its plaintext.

    The old key expires after `grace_seconds` (0 to LONGEST_GRACE_SECONDS), never later than it
    would have. A key is rotated once, however many ask at the same time. The successor of a
    program's that signed in is an ordinary key, and the program is signed out with the old one.

    Raise KeyAlreadyRotatedError, KeyNotActiveError, and ValueError for a grace out of range.
    """
    if not 0 <= grace_seconds <= LONGEST_GRACE_SECONDS:
        raise ValueError(f"The grace is 0 to {LONGEST_GRACE_SECONDS} seconds, not {grace_seconds}.")
    with transaction.atomic():
        # The lock makes a second rotation wait for the first and then see its successor.
        old = active(ApiKey.objects.select_for_update().filter(pk=key.pk)).first()
        if ApiKey.objects.filter(replaces_id=key.pk).exists():
            raise KeyAlreadyRotatedError(_("The key was already rotated. Rotate the new one."))
        if old is None:
            raise KeyNotActiveError(_("The key is revoked or expired. Create a new one."))
        new = ApiKey(
            team_id=old.team_id,
            created_by_id=old.created_by_id,
            name=old.name,
            scope=old.scope,
            expires_at=old.renewable_until or old.expires_at,
            source=old.source,
            allowed_models=old.allowed_models,
            requests_per_minute=old.requests_per_minute,
            tokens_per_minute=old.tokens_per_minute,
            budget_day_nanos=old.budget_day_nanos,
            budget_month_nanos=old.budget_month_nanos,
            budget_total_nanos=old.budget_total_nanos,
            replaces=old,
        )
        plaintext = save_with_new_secret(new, old.prefix)
        key_rotated.send(sender=ApiKey, key=old, successor=new)
        # PostgreSQL's LEAST ignores NULL, so a key without an expiry gets this one.
        ApiKey.objects.filter(pk=old.pk).update(
            expires_at=Least("expires_at", Now() + timedelta(seconds=grace_seconds)),
            renewable_until=None,
        )
    key.refresh_from_db()
    return new, plaintext


def revoke_key(key: ApiKey) -> ApiKey:
    """Revoke a key from its next request on. A second revocation keeps the time of the first."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now())
    key.refresh_from_db(fields=["revoked_at"])
    return key


def freeze_key(key: ApiKey, *, is_by_team: bool) -> ApiKey:
    """Reject a key from its next request on, until it is unfrozen.

    A frozen key counts as expired, by the database's clock, so every process rejects it and it can
    be neither changed nor rotated. Staff may freeze a key that its team froze: it is theirs then.

    Raise KeyNotActiveError if it is revoked, expired or already frozen.
    """
    with transaction.atomic():
        keys = ApiKey.objects.select_for_update().filter(pk=key.pk)
        if not is_by_team and _frozen(keys).filter(is_frozen_by_team=True).exists():
            keys.update(is_frozen_by_team=False)
        elif not active(keys).update(
            frozen_at=Now(),
            is_frozen_by_team=is_by_team,
            unfrozen_expires_at=F("expires_at"),
            expires_at=Now(),
        ):
            raise KeyNotActiveError(_("This key is already revoked, expired or frozen."))
    key.refresh_from_db()
    return key


def unfreeze_key(key: ApiKey, *, is_by_team: bool) -> ApiKey:
    """Accept a frozen key again, until the expiry it had.

    Raise KeyNotActiveError if it isn't frozen, and KeyFrozenError if its team may not unfreeze it.
    """
    with transaction.atomic():
        found = _frozen(ApiKey.objects.select_for_update().filter(pk=key.pk))
        if is_by_team and found.filter(is_frozen_by_team=False).exists():
            raise KeyFrozenError(_("This key was frozen by our staff. Contact us to unfreeze it."))
        if not found.update(
            expires_at=F("unfrozen_expires_at"),
            frozen_at=None,
            is_frozen_by_team=False,
            unfrozen_expires_at=None,
        ):
            raise KeyNotActiveError(_("This key is not frozen."))
    key.refresh_from_db()
    return key


def _frozen(queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    return queryset.filter(frozen_at__isnull=False, revoked_at__isnull=True)


def require_room(team: Team) -> None:
    """Lock the team against concurrent key creation, and raise TooManyKeysError at its limit.

    Call it in the transaction that creates a key. The chat page's keys count too.
    """
    locked = Team.objects.select_for_update(no_key=True, of=("self",)).select_related("plan")
    row = locked.get(pk=team.pk)
    limit = row.plan.max_keys if row.max_keys is None else row.max_keys
    if active(ApiKey.objects.filter(team=team)).count() >= limit:
        text = _(
            "The team has reached its limit of valid API keys ({limit})."
            " Revoke one you no longer use, or ask us for a higher limit."
        )
        raise TooManyKeysError(text.format(limit=limit))


def active(queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Return the keys that are neither revoked nor expired, by the database's clock.

    A program that signed in counts until it can't renew its token.
    """
    return queryset.filter(ACTIVE | RENEWABLE)


def current(queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
    """Return the keys that are active, or would be if they were unfrozen."""
    ends_later = Q(unfrozen_expires_at__isnull=True) | Q(unfrozen_expires_at__gt=Now())
    ends_later |= Q(renewable_until__gt=Now())
    frozen = Q(ends_later, frozen_at__isnull=False, revoked_at__isnull=True)
    return queryset.filter(ACTIVE | RENEWABLE | frozen)


def find_active(plaintext: str) -> ApiKey | None:
    """Return the active key of a plaintext, with its team and plan, in at most one query."""
    if not keys.is_well_formed(plaintext):
        return None
    candidates = [bytes.fromhex(digest) for digest in keys.digests(plaintext)]
    rows = ApiKey.objects.filter(ACTIVE, digest__in=candidates)
    found = rows.select_related("team__plan")
    for key in found:
        if any(keys.same_digest(bytes(key.digest), candidate) for candidate in candidates):
            return key
    return None


def is_frozen(plaintext: str) -> bool:
    """Return whether a plaintext is that of a frozen key."""
    if not keys.is_well_formed(plaintext):
        return False
    candidates = [bytes.fromhex(digest) for digest in keys.digests(plaintext)]
    found = ApiKey.objects.filter(digest__in=candidates)
    return current(found).filter(frozen_at__isnull=False).exists()


def save_with_new_secret(key: ApiKey, prefix: str) -> str:
    """Give an unsaved key its secret, insert it and return the plaintext."""
    plaintext = _set_new_secret(key, prefix)
    key.save(force_insert=True)
    return plaintext


def replace_secret(
    key: ApiKey, *, expires_at: datetime | None, renewable_until: datetime | None = None
) -> str:
    """Give a key another secret and expiry; the old secret is rejected from the next request on.

    Return the plaintext. Call it in a transaction that has locked the key.
    """
    plaintext = _set_new_secret(key, key.prefix)
    key.expires_at, key.renewable_until = expires_at, renewable_until
    key.save(
        update_fields=["last_four", "digest", "pepper_version", "expires_at", "renewable_until"]
    )
    return plaintext


def _set_new_secret(key: ApiKey, prefix: str) -> str:
    plaintext = keys.new_key(prefix)
    key.prefix = prefix
    key.last_four = plaintext[-4:]
    key.digest = bytes.fromhex(keys.digests(plaintext)[0])
    key.pepper_version = keys.newest_pepper_version()
    return plaintext
