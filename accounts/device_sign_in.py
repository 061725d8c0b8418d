"""Signing in on a device that has no browser, such as Claude Code (RFC 8628, RFC 6749, section 6).

The device shows a code and polls; a member types the code on a page and approves. The access token
is an API key of the member's team: the row exists from the approval on, each token is its secret
for TOKEN_SECONDS, and a refresh token replaces it until the end that the member chose.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import api_keys, key_actions, keys
from accounts.access import Actor
from accounts.errors import SignInClosedError
from accounts.models import ApiKey, DeviceSignIn, User
from accounts.oauth import (
    OAuthError,
    create_approved_key,
    digest_of,
    end_of,
    lock_approved_key,
    lock_unfetched_key,
    new_token,
    revoke_leaked_key,
)
from accounts.webhooks.events import publish_key_created

CODE_SECONDS = 600
INTERVAL_SECONDS = 5
LONGEST_INTERVAL_SECONDS = 300
_EARLY_SECONDS = 1  # after a poll that the network delayed, the next one seems early
_KEPT = timedelta(days=1)
# RFC 8628, 6.1: no vowels, so that no code is a word; 20^8 codes are 34 bits.
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
_CODE_LENGTH = 8


@dataclass(frozen=True)
class DeviceCodes:
    """The codes of a sign-in: the device's, which is secret, and the one that it shows."""

    device_code: str
    user_code: str


@dataclass(frozen=True)
class Tokens:
    """The tokens of a sign-in. `email` is the address of the member who approved it."""

    access_token: str
    expires_in_seconds: int
    refresh_token: str
    email: str


def start(*, client: str, user_agent: str, ip_address: str) -> DeviceCodes:
    """Begin a sign-in and return its codes, which are stored nowhere."""
    now = timezone.now()
    DeviceSignIn.objects.filter(key__isnull=True, expires_at__lt=now - _KEPT).delete()
    letters = "".join(secrets.choice(_LETTERS) for _letter in range(_CODE_LENGTH))
    codes = DeviceCodes(new_token(), f"{letters[:4]}-{letters[4:]}")
    DeviceSignIn.objects.create(
        device_digest=digest_of(codes.device_code),
        user_code_digest=_user_code_digest(codes.user_code),
        client=client[:80],
        user_agent=user_agent[:200],
        ip_address=ip_address,
        created_at=now,
        expires_at=now + timedelta(seconds=CODE_SECONDS),
        interval_seconds=INTERVAL_SECONDS,
    )
    return codes


def find_pending(user_code: str) -> DeviceSignIn | None:
    """Return the sign-in that waits for an approval of this code; case and dashes don't matter."""
    digest = _user_code_digest(user_code)
    waiting = DeviceSignIn.objects.filter(decided_at__isnull=True, expires_at__gt=timezone.now())
    return waiting.filter(user_code_digest=digest).first()


def approve(
    actor: Actor,
    sign_in: DeviceSignIn,
    name: str,
    *,
    prefix: str,
    ends_at: datetime | None,
    budgets: api_keys.KeyBudgets,
    ip_address: str,
) -> ApiKey:
    """Approve a sign-in for the actor's team, and return its key.

    `prefix` is the service's, `ends_at` the end of the sign-in, `budgets` are in nano-dollars. The
    key works once the device has fetched it. Raise SignInClosedError and TooManyKeysError.
    """
    with transaction.atomic():
        waiting = _lock_pending(sign_in)
        key = create_approved_key(
            actor,
            name,
            source=waiting.client,
            prefix=prefix,
            code_expires_at=waiting.expires_at,
            budgets=budgets,
            ip_address=ip_address,
        )
        waiting.ends_at = ends_at or _longest_end()
        waiting.key = key
        _decide(waiting)
    return key


def deny(sign_in: DeviceSignIn) -> None:
    """Deny a sign-in. Raise SignInClosedError."""
    with transaction.atomic():
        _decide(_lock_pending(sign_in))


def exchange(device_code: str, *, ip_address: str) -> Tokens:
    """Return the tokens of an approved sign-in, once.

    Raise OAuthError: `authorization_pending`, `slow_down`, `access_denied`, `expired_token`, or
    `invalid_grant` for an unknown or used code.
    """
    with transaction.atomic():
        # A second exchange at the same time waits for the first, and then sees that it was made.
        rows = DeviceSignIn.objects.select_for_update(of=("self",))
        found = rows.filter(device_digest=digest_of(device_code)).first()
        problem = _why_not_exchanged(found)
        if found is not None and problem is None:
            if key := lock_unfetched_key(found):
                found.exchanged_at = timezone.now()
                ends_at = end_of(key, found, found.ends_at) or _longest_end()
                tokens = _issue(found, key, new_token(), ends_at, ip_address)
                publish_key_created(key)
                return tokens
            problem = "access_denied"
    raise OAuthError(problem or "invalid_grant")


def refresh(refresh_token: str, *, ip_address: str) -> Tokens:
    """Replace both tokens of a sign-in.

    A refresh token works once. Its second use ends the sign-in, since one of its two holders stole
    it (RFC 9700, 4.14.2), unless it comes from the address of the last renewal: several
    sessions of Claude Code on one machine share a token, and the slower one finds it used.

    Raise OAuthError: `invalid_grant` (401) where the user must sign in again, and
    `temporarily_unavailable` (503) while the key is frozen.
    """
    family, _dot, _secret = refresh_token.partition(".")
    with transaction.atomic():
        rows = DeviceSignIn.objects.select_for_update(of=("self",))
        found = rows.filter(family_digest=digest_of(family)).first()
        key = lock_approved_key(found) if found is not None else None
        if found is not None and key is not None:
            is_newest = hmac.compare_digest(
                bytes(found.refresh_digest or b""), digest_of(refresh_token)
            )
            if is_newest and key.frozen_at is not None:
                raise OAuthError("temporarily_unavailable", "The key is frozen.", 503)
            ends_at = key.renewable_until
            if is_newest and ends_at is not None and ends_at > timezone.now():
                return _issue(found, key, family, ends_at, ip_address)
            if not is_newest and ip_address != found.refreshed_from:
                revoke_leaked_key(key, ip_address=ip_address)
    raise OAuthError("invalid_grant", "Sign in again.", 401)


def revoke(token: str, *, ip_address: str) -> None:
    """End the sign-in or the app's access that an access or refresh token belongs to (RFC 7009).

    An unknown token is not an error. Keys that people created aren't revoked here.
    """
    family, _dot, _secret = token.partition(".")
    candidates = [bytes.fromhex(each) for each in keys.digests(token)]
    approved = ApiKey.objects.exclude(source="").select_related("team", "created_by")
    found = (
        approved.filter(digest__in=candidates).first()
        or approved.filter(device_sign_in__family_digest=digest_of(family)).first()
    )
    if found is None:
        return
    actor = Actor(team=found.team, user=found.created_by)
    detail = {"source": found.source, "reason": "signed out"}
    key_actions.revoke_key(actor, found, detail=detail, ip_address=ip_address)


def _user_code_digest(user_code: str) -> bytes:
    """Return the keyed digest of a code: 34 bits alone would be found by trying."""
    letters = "".join(letter for letter in user_code.upper() if letter.isalnum())[:64]
    secret = keys.derived_secret(b"user code")
    return hmac.digest(secret, letters.encode("utf-8", "surrogatepass"), "sha256")


def _lock_pending(sign_in: DeviceSignIn) -> DeviceSignIn:
    found = DeviceSignIn.objects.select_for_update().filter(pk=sign_in.pk).first()
    if found is None or found.decided_at is not None or found.expires_at <= timezone.now():
        raise SignInClosedError(_("This code has expired or was used. Start again on the device."))
    return found


def _decide(sign_in: DeviceSignIn) -> None:
    sign_in.decided_at, sign_in.user_code_digest = timezone.now(), None
    sign_in.save(update_fields=["decided_at", "user_code_digest", "key", "ends_at"])


def _why_not_exchanged(sign_in: DeviceSignIn | None) -> str | None:
    """Return the error of a poll, counting it; None where the tokens are due."""
    now = timezone.now()
    if sign_in is None or sign_in.exchanged_at is not None:
        return "invalid_grant"
    if sign_in.decided_at is not None and sign_in.key_id is None:
        return "access_denied"
    if sign_in.expires_at <= now:
        return "expired_token"
    if sign_in.decided_at is not None:
        return None
    polled_at, sign_in.polled_at = sign_in.polled_at, now
    wait = timedelta(seconds=sign_in.interval_seconds - _EARLY_SECONDS)
    is_early = polled_at is not None and now - polled_at < wait
    if is_early:
        # RFC 8628, 3.5: the interval is five seconds longer from now on.
        longer = sign_in.interval_seconds + INTERVAL_SECONDS
        sign_in.interval_seconds = min(longer, LONGEST_INTERVAL_SECONDS)
    sign_in.save(update_fields=["polled_at", "interval_seconds"])
    return "slow_down" if is_early else "authorization_pending"


def _longest_end() -> datetime:
    return timezone.now() + api_keys.LONGEST_SIGN_IN


def _issue(
    sign_in: DeviceSignIn, key: ApiKey, family: str, ends_at: datetime, ip_address: str
) -> Tokens:
    """Return new tokens, in place of those that the sign-in had."""
    now = timezone.now()
    expires_at = min(ends_at, now + timedelta(seconds=settings.ACCESS_TOKEN_SECONDS))
    plaintext = api_keys.replace_secret(key, expires_at=expires_at, renewable_until=ends_at)
    refresh_token = f"{family}.{new_token()}"
    sign_in.family_digest = digest_of(family)
    sign_in.refresh_digest = digest_of(refresh_token)
    sign_in.refreshed_from = ip_address
    sign_in.save(
        update_fields=["exchanged_at", "family_digest", "refresh_digest", "refreshed_from"]
    )
    seconds = int((expires_at - now).total_seconds())
    return Tokens(plaintext, seconds, refresh_token, cast(User, key.created_by).email)
