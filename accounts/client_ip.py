"""The client's IP address, for limits, the audit log and the list of sessions."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

# A server on a Unix socket gets no address: its peers are on this machine.
_LOCALHOST = "127.0.0.1"


def client_ip(request: HttpRequest) -> str:
    """Return the IPv4 or IPv6 address of a request's client."""
    peer = request.META.get("REMOTE_ADDR", "")
    return client_address(peer, request.headers.get("X-Forwarded-For", ""))


def client_address(peer: str, forwarded_for: str) -> str:
    """Return the client's IPv4 or IPv6 address.

    `peer` is the connection's remote address, `forwarded_for` the header X-Forwarded-For. Each of
    the operator's proxies (`PROXY_COUNT`, with `BEHIND_PROXY`) appends its peer to the header, so
    the client's address is that many entries from the end. Clients may forge earlier entries to
    evade a limit, and without a proxy, all of them.
    """
    connected = _address(peer) or _LOCALHOST
    if not settings.BEHIND_PROXY:
        return connected
    seen = [part.strip() for part in forwarded_for.split(",")]
    if len(seen) < settings.PROXY_COUNT:
        return connected
    return _address(seen[-settings.PROXY_COUNT]) or connected


def _address(text: str) -> str | None:
    try:
        # A link-local address may name its interface ("fe80::1%eth0"), which the database refuses.
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # The same client over a socket for both families is the same client.
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
