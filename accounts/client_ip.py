"""Whose request it is, by address: what limits count by and what people are shown."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

# A server that listens on a Unix socket is told no address: who connects is on this machine.
_HERE = "127.0.0.1"


def client_ip(request: HttpRequest) -> str:
    """Return the client's IPv4 or IPv6 address.

    Each of the operator's proxies (`PROXY_COUNT`, with `BEHIND_PROXY`) appends whom it saw to
    X-Forwarded-For, so the client's address is so many places from the end. What stands before
    that, the client may have written to dodge a limit; without a proxy, all of it.
    """
    peer = _address(request.META.get("REMOTE_ADDR", "")) or _HERE
    if not settings.BEHIND_PROXY:
        return peer
    seen = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    if len(seen) < settings.PROXY_COUNT:
        return peer
    return _address(seen[-settings.PROXY_COUNT]) or peer


def _address(text: str) -> str | None:
    try:
        # A link-local address may name its interface ("fe80::1%eth0"), which the database refuses.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # The same client over a socket for both families is the same client.
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
