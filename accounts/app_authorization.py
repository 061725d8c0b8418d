"""Keys for apps: a member approves one on a page, and the app fetches it with a code.

This is OAuth's authorization code with PKCE (RFC 7636, S256 only) as OpenRouter's apps use it:
without registration, since the member sees the callback URL that the code goes to.
"""

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime, timedelta
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from django.db import transaction
from django.utils import timezone

from accounts import api_keys
from accounts.access import Actor
from accounts.models import ApiKey, AppAuthorization
from accounts.oauth import (
    OAuthError,
    create_approved_key,
    digest_of,
    end_of,
    lock_unfetched_key,
    new_token,
    revoke_leaked_key,
)
from accounts.webhooks.events import publish_key_created

CODE_SECONDS = 600
LONGEST_URL = 2000
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# What no browser sends in a URL as it is: it could end the URL, or make the host look another.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\U0010ffff\\<>\"`{|}^]")
_HOST = re.compile(r"(?!-)[a-z0-9.-]{1,253}|[0-9a-f:.]{2,45}")
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636, 4.1
_DIGEST_BYTES = 32


def callback_of(url: str) -> SplitResult | None:
    """Return the parts of a URL that a code may be sent to: https, or http on this machine.

    Return None for any other, such as one with a user, a fragment, or characters that no URL has.
    """
    if len(url) > LONGEST_URL or _UNSAFE.search(url):
        return None
    try:
        parts = urlsplit(url)
        _port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    is_loopback = parts.scheme == "http" and host in _LOOPBACK
    if "@" in parts.netloc or "#" in url or not _HOST.fullmatch(host):
        return None
    return parts if parts.scheme == "https" or is_loopback else None


def callback_url(parts: SplitResult, **added: str) -> str:
    """Return a callback URL with parameters added to those that it has."""
    query = [*parse_qsl(parts.query, keep_blank_values=True), *added.items()]
    return parts._replace(path=parts.path or "/", query=urlencode(query)).geturl()


def challenge_of(text: str) -> bytes | None:
    """Return the digest in a code challenge of method S256; None for any other text."""
    try:
        digest = base64.urlsafe_b64decode(text.encode("ascii") + b"=")
    except (UnicodeEncodeError, binascii.Error):
        return None
    is_canonical = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == text
    return digest if is_canonical and len(digest) == _DIGEST_BYTES else None


def approve(
    actor: Actor,
    name: str,
    *,
    source: str,
    challenge: bytes,
    prefix: str,
    ends_at: datetime | None,
    budgets: api_keys.KeyBudgets,
    ip_address: str,
) -> str:
    """Approve a key of the actor's team for an app, and return the code for it.

    `source` is the app's host, `prefix` the service's, `ends_at` the key's end (None: never),
    `budgets` are in nano-dollars. The key works once the app has fetched it. Raise
    TooManyKeysError.
    """
    code, now = new_token(), timezone.now()
    expires_at = now + timedelta(seconds=CODE_SECONDS)
    with transaction.atomic():
        key = create_approved_key(
            actor,
            name,
            source=source,
            prefix=prefix,
            code_expires_at=expires_at,
            budgets=budgets,
            ip_address=ip_address,
        )
        AppAuthorization.objects.create(
            digest=digest_of(code),
            challenge=challenge,
            key=key,
            created_at=now,
            expires_at=expires_at,
            key_expires_at=ends_at,
        )
    return code


def exchange(code: str, verifier: str, *, ip_address: str) -> tuple[ApiKey, str]:
    """Return an approved key with its plaintext, once.

    A second exchange with the right verifier revokes the key (RFC 6749, 4.1.2). Raise OAuthError
    `invalid_grant` (403).
    """
    challenge = hashlib.sha256(verifier.encode("utf-8", "surrogatepass")).digest()
    with transaction.atomic():
        # A second exchange at the same time waits for the first, and then sees that it was made.
        rows = AppAuthorization.objects.select_for_update(of=("self",))
        found = rows.filter(digest=digest_of(code)).first()
        is_verifier = _VERIFIER.fullmatch(verifier) is not None
        if found is not None and is_verifier and hmac.compare_digest(found.challenge, challenge):
            if found.exchanged_at is not None:
                revoke_leaked_key(found.key, ip_address=ip_address)
            elif found.expires_at > timezone.now() and (key := lock_unfetched_key(found)):
                found.exchanged_at = timezone.now()
                found.save(update_fields=["exchanged_at"])
                ends_at = end_of(key, found, found.key_expires_at)
                plaintext = api_keys.replace_secret(key, expires_at=ends_at)
                publish_key_created(key)
                return key, plaintext
    raise OAuthError("invalid_grant", status=403)
