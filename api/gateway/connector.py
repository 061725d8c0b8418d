"""New connections to upstreams: a host's addresses, the first that answers, verified TLS."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import aiohappyeyeballs

from api.gateway.transport import ConnectError, Origin
from api.upstream_hosts import GuardedResolver

# How long a host's addresses are used before they are looked up again.
DNS_SECONDS = 60
# RFC 8305: how long one address may take before the next is tried beside it.
NEXT_ADDRESS_SECONDS = 0.25

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
P = TypeVar("P", bound=asyncio.Protocol)


class Connector:
    """Opens connections. Make it inside the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._resolver = GuardedResolver()
        self._lookups: dict[tuple[str, int], tuple[float, asyncio.Task[list[AddressInfo]]]] = {}

    async def connect(
        self, origin: Origin, make_protocol: Callable[[], P], timeout_seconds: float
    ) -> P:
        """Return the protocol of a new connection. Raise ConnectError."""
        try:
            async with asyncio.timeout(timeout_seconds):
                sock = await aiohappyeyeballs.start_connection(
                    await self._addresses(origin.host, origin.port),
                    happy_eyeballs_delay=NEXT_ADDRESS_SECONDS,
                    interleave=1,
                    loop=self._loop,
                )
                try:
                    _, protocol = await self._loop.create_connection(
                        make_protocol,
                        sock=sock,
                        ssl=tls_context() if origin.is_tls else None,
                        server_hostname=origin.host if origin.is_tls else None,
                    )
                except BaseException:
                    sock.close()
                    raise
        except TimeoutError:
            raise ConnectError(f"no connection within {timeout_seconds:g} s") from None
        except (OSError, ssl.SSLError) as error:
            raise ConnectError(f"{type(error).__name__} {error}"[:300]) from None
        return protocol

    def close(self) -> None:
        """Stop looking up addresses."""
        for _, lookup in self._lookups.values():
            lookup.cancel()

    async def _addresses(self, host: str, port: int) -> list[AddressInfo]:
        """Return a host's addresses, however many ask at once. Raise OSError."""
        now = self._loop.time()
        known = self._lookups.get((host, port))
        if known is None or known[0] < now or _has_failed(known[1]):
            known = now + DNS_SECONDS, self._loop.create_task(self._look_up(host, port))
            self._lookups[host, port] = known
        return await asyncio.shield(known[1])

    async def _look_up(self, host: str, port: int) -> list[AddressInfo]:
        try:
            is_v6 = ipaddress.ip_address(host).version == 6
        except ValueError:
            found = await self._resolver.resolve(host, port, socket.AF_UNSPEC)
            return [_info(each["host"], each["port"], each["family"]) for each in found]
        # An address needs no look-up; `upstream_hosts.problem_with` has judged it.
        return [_info(host, port, socket.AF_INET6 if is_v6 else socket.AF_INET)]


@cache
def tls_context() -> ssl.SSLContext:
    """Return the context of all connections; it takes 20 ms to load the trusted certificates."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _has_failed(lookup: asyncio.Task[list[AddressInfo]]) -> bool:
    return lookup.done() and (lookup.cancelled() or lookup.exception() is not None)


def _info(host: str, port: int, family: int) -> AddressInfo:
    """Return an address as `getaddrinfo` does."""
    is_v6 = family == socket.AF_INET6
    address: tuple[Any, ...] = (host, port, 0, 0) if is_v6 else (host, port)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address
