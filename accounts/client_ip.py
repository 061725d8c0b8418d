"""The address that a request comes from."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_ip(request: HttpRequest) -> str | None:
    """Returns the client's IP address, or None where the connection has none (a Unix socket).

    Behind our proxy (BEHIND_PROXY) it is the last hop of X-Forwarded-For: the one that our proxy
    has added. All before it is what the client says of itself.
    """
    hops = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        hops = request.META.get("HTTP_X_FORWARDED_FOR", "")
    # A link-local address may name its interface ("fe80::1%eth0"), which the database refuses.
    address = hops.rpartition(",")[2].partition("%")[0].strip()
    try:
        return str(ip_address(address))
    except ValueError:
        return None
