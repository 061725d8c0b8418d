"""Mailboxes: one spelling for every address of one, and what is kept of it when the user is gone.

What is given once per person is given once per mailbox, also after the account was deleted. So a
keyed digest of the mailbox is kept with the gift: it recognises the mailbox and names nobody.
"""

import hashlib

from django.conf import settings
from django.utils.crypto import salted_hmac

_GMAIL = {"gmail.com", "googlemail.com"}
_SALT = "accounts.mailboxes"


def mailbox_of(address: str) -> str:
    """Return one spelling for all addresses of a mailbox.

    Lower case, without what stands after a plus; gmail's without dots, under one domain.
    """
    local, _, domain = address.strip().lower().rpartition("@")
    local = local.partition("+")[0]
    if domain in _GMAIL:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"


def mailbox_digest(address: str) -> str:
    """Return the digest to keep of an address's mailbox, keyed by SECRET_KEY."""
    return _digest(mailbox_of(address), settings.SECRET_KEY)


def known_digests(address: str) -> list[str]:
    """Return every digest that may have been kept of the mailbox.

    By the keys of SECRET_KEY_FALLBACKS too, and the digest without a key of earlier releases.
    """
    mailbox = mailbox_of(address)
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    keyless = hashlib.sha256(mailbox.encode()).hexdigest()
    return [*(_digest(mailbox, key) for key in keys), keyless]


def _digest(mailbox: str, key: str | bytes) -> str:
    return salted_hmac(_SALT, mailbox, secret=key, algorithm="sha256").hexdigest()
