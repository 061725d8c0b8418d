"""The format of API keys and their digests.

A key is a prefix, 32 base62 characters from a CSPRNG (190 bits) and the CRC32 of all before it as 6
base62 characters, so that a mistyped key is refused without a query. What is stored
is its HMAC-SHA256 under a secret ("pepper") that is not in the database: a copy of the database
gives no access. A slow password hash would add nothing to 190 random bits, and would make denial of
service cheap.
"""

import hmac
import re
import secrets
import zlib
from functools import lru_cache

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Two base62 digits at a time: every request checks a key.
_PAIRS = [high + low for high in _ALPHABET for low in _ALPHABET]
_RANDOM_LENGTH = 32
_CHECK_LENGTH = 6
_PREFIX = re.compile(r"[A-Za-z0-9-]{1,20}")
# Any prefix is accepted, not only the current one: keys survive a change of the prefix.
_KEY = re.compile(r"[A-Za-z0-9-]{1,20}[0-9A-Za-z]{38}")
_LONGEST_KEY = 20 + _RANDOM_LENGTH + _CHECK_LENGTH

MISSING_PEPPER = (
    "API_KEY_PEPPERS is empty, so no API key can be created or verified. Set it to "
    "'1:<64 hex digits>', such as from `python -c 'import secrets; print(secrets.token_hex(32))'`, "
    "and keep it: without it all keys created with it stop working."
)


def new_key(prefix: str) -> str:
    """Return a new key's plaintext.

    Raise ValueError for a prefix that is not 1 to 20 letters, digits and dashes.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"{prefix!r} is not a key prefix: 1 to 20 letters, digits and dashes.")
    body = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return body + _check_characters(body)


def is_prefix(text: str) -> bool:
    """Return whether a text may be a service's key prefix.

    It ends in a dash, by which the masking of logs (accounts/masking.py) recognizes a key.
    """
    return bool(_PREFIX.fullmatch(text)) and text.endswith("-")


def prefix_of(key: str) -> str:
    """Return the prefix that a key was made with (`sk-` begins one of `sk-glm5-`, too)."""
    return key[: -_RANDOM_LENGTH - _CHECK_LENGTH]


def is_well_formed(text: str) -> bool:
    """Return whether a text has a key's form and checksum, in bounded time and without a query."""
    if len(text) > _LONGEST_KEY or not _KEY.fullmatch(text):
        return False
    return text[-_CHECK_LENGTH:] == _check_characters(text[:-_CHECK_LENGTH])


def digests(text: str) -> list[str]:
    """Return a key's HMAC-SHA256 as hex under each pepper in use, the newest pepper's first.

    Raise ImproperlyConfigured where no pepper is set.
    """
    key = text.encode("utf-8", "surrogatepass")
    peppers = _peppers()
    return [
        hmac.digest(peppers[version], key, "sha256").hex()
        for version in sorted(peppers, reverse=True)
    ]


def same_digest(one: bytes, other: bytes) -> bool:
    """Return whether two digests are equal, in constant time."""
    return hmac.compare_digest(one, other)


def newest_pepper_version() -> int:
    """Return the version of the pepper that new keys are digested under.

    Raise ImproperlyConfigured where no pepper is set.
    """
    return max(_peppers())


def derived_secret(purpose: bytes) -> bytes:
    """Return 32 secret bytes, derived from the newest pepper, for a purpose other than API keys.

    Raise ImproperlyConfigured if no pepper is set.
    """
    return _derived(_peppers()[newest_pepper_version()], purpose)


@lru_cache(maxsize=16)
def _derived(pepper: bytes, purpose: bytes) -> bytes:
    return hmac.digest(pepper, b"tollgate " + purpose, "sha256")


def _peppers() -> dict[int, bytes]:
    peppers: dict[int, bytes] = settings.API_KEY_PEPPERS
    if not peppers:
        raise ImproperlyConfigured(MISSING_PEPPER)
    return peppers


def _check_characters(body: str) -> str:
    """Return the CRC32 of the text before it as 6 base62 characters, the highest digit first."""
    rest, third = divmod(zlib.crc32(body.encode("ascii")), len(_PAIRS))
    first, second = divmod(rest, len(_PAIRS))
    return _PAIRS[first] + _PAIRS[second] + _PAIRS[third]
