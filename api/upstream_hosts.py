"""The hosts that upstreams may have, by UPSTREAM_HOSTS, and the guard of connections to them.

`*` allows every host of the public internet, over https. A host that is listed by its name or
address, or by a domain (`.example.com`), is the operator's word: it may be private, and plain http.
Staff who may edit upstreams could otherwise have the gateway ask the metadata service of a cloud,
or a database behind the firewall (server-side request forgery, OWASP API7:2023).

A row is checked when it is saved, and the addresses that its host's name resolves to when it is
connected to, because whoever owns a name may point it anywhere, at any time.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpcore
import httpx
from aiohttp.abc import ResolveResult
from django.conf import settings

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits
# All that is assigned of the public internet (IANA's registry, RFC 4291). Around it are forms that
# carry a private IPv4 address: ::10.0.0.8, ::ffff:0:10.0.0.8, the local NAT64 64:ff9b:1::/48.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_PROTOCOLS = ipaddress.ip_network("192.0.0.0/24")  # RFC 6890; a metadata service is within
# A name that resolvers and HTTP clients read alike. Others they don't: `169.254.169\u3002254` is a
# name here, and an address once the client has made its dots plain (UTS 46).
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
# Names that never lead to the public internet: RFC 6761, RFC 6762, ICANN's `internal`.
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".home.arpa")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RefusedHostError(OSError):
    """A host that UPSTREAM_HOSTS does not allow."""


class NoPublicAddressError(httpcore.ConnectError):
    """A host that has private addresses only."""


def problem_with(url: str) -> str:
    """Return why an upstream may not have this URL, or an empty text; names are not resolved."""
    parts = urlsplit(url)
    host = _normal(parts.hostname or "")
    if is_listed(host):
        return ""
    if "*" not in settings.UPSTREAM_HOSTS:
        return f"{host} is not among the hosts that UPSTREAM_HOSTS allows."
    if not may_be_public(host):
        return (
            f"{host} is no host of the public internet: list it in UPSTREAM_HOSTS to allow it. "
            "An international name is written in its ASCII form (xn--)."
        )
    if parts.scheme != "https":
        return f"{host} must be reached over https, or be listed in UPSTREAM_HOSTS."
    return ""


def is_listed(host: str) -> bool:
    """Return whether UPSTREAM_HOSTS names a host, or a domain that it belongs to."""
    host = _normal(host)
    return any(
        host.endswith(entry) if entry.startswith(".") else host == _normal(entry)
        for entry in map(str.lower, settings.UPSTREAM_HOSTS)
    )


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet."""
    ip: Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if embedded is None and ip not in _GLOBAL_UNICAST:
            return False
        ip = embedded or ip
    return ip.is_global and not ip.is_multicast and ip not in _PROTOCOLS


class GuardedResolver(aiohttp.ThreadedResolver):
    """The gateway's resolver: a host that isn't listed has public addresses only.

    aiohttp does not ask a resolver for an IP address; `problem_with` judges those.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the host's addresses that may be connected to. Raise OSError for none."""
        found = await super().resolve(host, port, family)
        if is_listed(host):
            return found
        allowed = [each for each in found if is_public(each["host"])]
        if not allowed:
            raise RefusedHostError(f"{host} has no public address")
        return allowed


class GuardedBackend(httpcore.SyncBackend):
    """The same for httpx: it connects to the address that was checked.

    `is_exempt` says which hosts may be private; by default, those that are listed.
    """

    def __init__(self, is_exempt: Callable[[str], bool] = is_listed) -> None:
        super().__init__()
        self._is_exempt = is_exempt

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Return a connection to one of the host's allowed addresses.

        Raise httpcore.ConnectError where there is none.
        """
        if not self._is_exempt(host):
            host = _public_address(host, port)
        return super().connect_tcp(host, port, timeout, local_address, socket_options)


def guarded_transport(
    backend: GuardedBackend | None = None, *, max_keepalive: int = 20
) -> httpx.HTTPTransport:
    """Return a transport for httpx that connects to allowed addresses only, without a proxy."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=max_keepalive)
    transport = httpx.HTTPTransport(trust_env=False, limits=limits)
    transport._pool._network_backend = backend or GuardedBackend()
    return transport


def _public_address(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
        raise httpcore.ConnectError(str(error)) from None
    for *_, place in found:
        address = str(place[0])
        if is_public(address):
            return address
    raise NoPublicAddressError(f"{host} has no public address")


def may_be_public(host: str) -> bool:
    """Return whether a host could be one of the public internet, judged without resolving it."""
    host = _normal(host)
    try:
        return is_public(host)
    except ValueError:
        pass
    # `127.1`, `2130706433` and `127.0.0.0xa` are addresses to a resolver.
    is_name = _NAME.fullmatch(host) and not _NUMBER.fullmatch(host.rpartition(".")[2])
    return bool(is_name) and "." in host and not host.endswith(_PRIVATE_SUFFIXES)


def _normal(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")
