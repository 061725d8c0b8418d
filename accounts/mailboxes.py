"""Mailboxes: one canonical spelling for all addresses of a mailbox, and its digest.

Whatever is granted once per person is granted once per mailbox, even after the account is deleted.
So a keyed digest of the mailbox is kept with the grant: it recognizes the mailbox without revealing
it.
"""

import hashlib

from django.conf import settings
from django.utils.crypto import salted_hmac

_GMAIL = {"gmail.com", "googlemail.com"}
_SALT = "accounts.mailboxes"


def mailbox_of(address: str) -> str:
    """Return the canonical spelling of an address's mailbox.

    Lower case, without anything after a plus; for Gmail also without dots, under one domain.
    """
    local, _, domain = address.strip().lower().rpartition("@")
    local = local.partition("+")[0]
    if domain in _GMAIL:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"


def mailbox_digest(address: str) -> str:
    """Return the digest to store for an address's mailbox, keyed with SECRET_KEY."""
    return _digest(mailbox_of(address), settings.SECRET_KEY)


def known_digests(address: str) -> list[str]:
    """Return every digest that may have been stored for the mailbox.

    Includes those keyed with SECRET_KEY_FALLBACKS, and the unkeyed one of earlier releases.
    """
    mailbox = mailbox_of(address)
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keyless = hashlib.sha256(mailbox.encode()).hexdigest()
    return [*(_digest(mailbox, key) for key in keys), keyless]


def _digest(mailbox: str, key: str | bytes) -> str:
    return salted_hmac(_SALT, mailbox, secret=key, algorithm="sha256").hexdigest()
