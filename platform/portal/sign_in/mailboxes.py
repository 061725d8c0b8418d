"""Which addresses lead to one mailbox, and which mailboxes are thrown away after use."""

from collections.abc import Collection

_GMAIL = {"gmail.com", "googlemail.com"}


def mailbox_of(address: str) -> str:
    """Returns one spelling for all addresses of a mailbox.

    Lower case, without what stands after a plus; gmail's without dots, under one domain.
    """
    local, _, domain = address.strip().lower().rpartition("@")
    local = local.partition("+")[0]
    if domain in _GMAIL:
        local, domain = local.replace(".", ""), "gmail.com"
    return f"{local}@{domain}"


def is_disposable(address: str, domains: Collection[str]) -> bool:
    """Tells whether the address is at one of the domains (lower case) or below one."""
    labels = address.strip().lower().rpartition("@")[2].rstrip(".").split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))
