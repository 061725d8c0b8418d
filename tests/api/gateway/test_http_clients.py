"""Both HTTP clients for upstreams, on real sockets: bodies, kept connections, broken answers."""

import asyncio
import functools
import random
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from api.gateway.connector import tls_context
from api.gateway.httpx_client import HttpxClient
from api.gateway.relay_client import MAX_WAITING_BYTES, RelayClient, head_of
from api.gateway.transport import (
    MAX_HEAD_BYTES,
    BrokenResponseError,
    ConnectError,
    DisconnectedError,
    Response,
    Target,
    Transport,
    TransportError,
)
from tests.api.gateway.upstream import Script, Upstream, raw
from tests.support.waiting import eventually_async

OK = b"HTTP/1.1 200 OK\r\n"
both = pytest.mark.parametrize("make_client", [RelayClient, HttpxClient])


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test in asyncio's own loop and in uvloop, which production uses."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        for make_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=make_loop) as runner:
                runner.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


class Dispatched:
    was_dispatched = False


@asynccontextmanager
async def connected(
    make_client: type[Transport], *scripts: Script
) -> AsyncIterator[tuple[Transport, Upstream, Target]]:
    """Yield a client, an upstream that runs the scripts, and where it is."""
    async with Upstream(*scripts) as upstream:
        client = make_client()
        try:
            yield client, upstream, Target(f"http://127.0.0.1:{upstream.port}/v1/chat?a=b")
        finally:
            await client.close()


async def post(client: Transport, target: Target, body: bytes = b"{}") -> Response:
    return await client.post(target, {"x-request-id": "r"}, body, connect_seconds=5, dispatch=None)


async def whole(response: Response) -> bytes:
    parts = []
    while part := await response.read():
        parts.append(part)
    return b"".join(parts)


def kept(*parts: bytes | float) -> Script:
    """Write bytes and sleep as `raw` does, and keep the connection."""

    async def script(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)

    return script


@both
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"content-length: 5\r\n\r\nhello", b"hello"),
        (b"Content-Length: 0\r\n\r\n", b""),
        (b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello"),
        (b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-trailer: 1\r\n\r\n", b"hello"),
        (b"transfer-encoding: chunked\r\n\r\n5  \r\nhello\r\n0\r\n\r\n", b"hello"),
    ],
)
@in_loop
async def test_a_body_is_read_to_its_end_and_its_connection_kept(
    make_client: type[Transport], answer: bytes, body: bytes
) -> None:
    async with connected(make_client, kept(OK + answer)) as (client, upstream, target):
        for _ in range(3):
            response = await post(client, target)
            assert (response.status, await whole(response)) == (200, body)
            assert await response.read() == b""
            await response.close()
    assert upstream.connections == 1
    assert upstream.heads[0].startswith("POST /v1/chat?a=b HTTP/1.1\r\n")


@both
@pytest.mark.parametrize("answer", [b"", b"connection: close\r\n", b"x: y\r\n"])
@in_loop
async def test_a_body_may_end_with_its_connection(
    make_client: type[Transport], answer: bytes
) -> None:
    script = raw(b"HTTP/1.0 200 OK\r\n" + answer + b"\r\nhel", 0.02, b"lo")
    async with connected(make_client, script) as (client, upstream, target):
        for _ in range(2):
            assert await whole(await post(client, target)) == b"hello"
    assert upstream.connections == 2


@both
@in_loop
async def test_interim_responses_are_passed_over(make_client: type[Transport]) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    script = kept(interim, 0.01, interim + OK + b"content-length: 2\r\n\r\nhi")
    async with connected(make_client, script) as (client, _, target):
        response = await post(client, target)
        assert (response.status, await whole(response)) == (200, b"hi")
        assert dict(response.headers) == {b"content-length": b"2"}


@both
@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ((), DisconnectedError),
        ((OK,), DisconnectedError),
        ((b"SSH-2.0-OpenSSH_9.6\r\n",), BrokenResponseError),
        ((OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi",), BrokenResponseError),
        ((OK + b"content-length: two\r\n\r\nhi",), BrokenResponseError),
        ((OK + b"x: " + b"a" * (MAX_HEAD_BYTES + 10),), BrokenResponseError),
        ((OK + b"x: y\r\n" * 1_100 + b"\r\n",), BrokenResponseError),
    ],
)
@in_loop
async def test_what_is_no_head_is_a_typed_error(
    make_client: type[Transport], parts: tuple[bytes, ...], error: type[TransportError]
) -> None:
    async with connected(make_client, raw(*parts)) as (client, _, target):
        with pytest.raises(error):
            await post(client, target)


@both
@pytest.mark.parametrize(
    "answer",
    [
        b"content-length: 9\r\n\r\nhello",
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
    ],
)
@in_loop
async def test_a_body_that_breaks_off_is_an_error(
    make_client: type[Transport], answer: bytes
) -> None:
    async with connected(make_client, raw(OK + answer)) as (client, _, target):
        with pytest.raises(TransportError):
            await whole(await post(client, target))


@both
@in_loop
async def test_nobody_there_is_a_connect_error(make_client: type[Transport]) -> None:
    async with connected(make_client, raw()) as (client, upstream, target):
        await upstream.__aexit__()
        dispatch = Dispatched()
        with pytest.raises(ConnectError):
            await client.post(target, {}, b"{}", connect_seconds=5, dispatch=dispatch)
        assert not dispatch.was_dispatched


@in_loop
async def test_bytes_that_nobody_asked_for_are_never_the_next_answer() -> None:
    first = OK + b"content-length: 2\r\n\r\nhi"
    second = OK + b"content-length: 4\r\n\r\nevil"
    for script in (kept(first + second, 60.0), kept(first, 0.02, second, 60.0)):
        async with connected(RelayClient, script) as (client, upstream, target):
            assert await whole(await post(client, target)) == b"hi"
            await asyncio.wait_for(upstream.closed.wait(), 20)
            assert await whole(await post(client, target)) == b"hi"
            assert upstream.connections == 2


@in_loop
async def test_a_response_that_is_not_read_to_its_end_closes_its_connection() -> None:
    script = kept(OK + b"content-length: 9\r\n\r\nhello", 5.0)
    async with connected(RelayClient, script) as (client, upstream, target):
        response = await post(client, target)
        await response.close()
        await asyncio.wait_for(upstream.closed.wait(), 20)


@in_loop
async def test_a_cancelled_request_closes_its_connection() -> None:
    async with connected(RelayClient, kept(5.0)) as (client, upstream, target):
        task = asyncio.ensure_future(post(client, target))
        await eventually_async(lambda: upstream.calls)
        task.cancel()
        await asyncio.wait_for(upstream.closed.wait(), 20)


@in_loop
async def test_a_slow_reader_slows_the_upstream_down() -> None:
    size = 64 * 1024 * 1024
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"content-length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with connected(RelayClient, flood) as (client, _, target):
        response = await post(client, target)
        await response.read()
        await asyncio.sleep(0.3)
        # What the kernel's buffers and ours hold, and no more.
        assert sent < size / 2
        assert len(await response.read()) < MAX_WAITING_BYTES + 1024 * 1024
        assert len(await whole(response)) > size / 2


@in_loop
async def test_an_answer_before_the_whole_request_is_read_and_its_connection_closed() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
        await asyncio.sleep(0.2)
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1024)
    target = Target(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    client = RelayClient()
    for _ in range(2):
        response = await post(client, target, b"x" * 30_000_000)
        assert (response.status, await whole(response)) == (413, b"no")
    await client.close()
    server.close()


@in_loop
async def test_any_answer_in_any_pieces_is_a_body_or_a_typed_error() -> None:
    """Mutations of good answers, cut anywhere, never hang and raise nothing else."""
    chance = random.Random(15)
    good = (
        OK + b"content-length: 12\r\n\r\nhello, world",
        OK + b"transfer-encoding: chunked\r\n\r\n6\r\nhello,\r\n6\r\n world\r\n0\r\nt: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"connection: close\r\n\r\nhello, world",
    )
    client, outcomes = RelayClient(), set()
    for number in range(300):
        data = bytearray(chance.choice(good))
        is_mutated = number % 3 > 0
        for _ in range(chance.randint(1, 4) if is_mutated else 0):
            data[chance.randrange(len(data))] = chance.randrange(256)
        cuts = sorted(chance.sample(range(len(data)), 3))
        parts = [bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        async with Upstream(raw(*parts)) as upstream:
            target = Target(f"http://127.0.0.1:{upstream.port}")
            try:
                body = await asyncio.wait_for(whole(await post(client, target)), 5)
            except TransportError as error:
                assert is_mutated
                outcomes.add(type(error))
            else:
                assert is_mutated or body == b"hello, world"
                outcomes.add(bytes)
    await client.close()
    assert outcomes >= {bytes, BrokenResponseError, DisconnectedError}


def test_a_header_can_not_begin_another() -> None:
    target = Target("http://example.com")
    for value in ("a\r\nx: y", "a\ny", "a\0"):
        with pytest.raises(ValueError, match="line break"):
            head_of(target, {"anthropic-beta": value}, 2)
    assert head_of(target, {"a": "b"}, 2) == (
        b"POST / HTTP/1.1\r\nhost: example.com\r\na: b\r\ncontent-length: 2\r\n\r\n"
    )


def certificate(folder: Path, name: x509.GeneralName) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (folder / "key.pem").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "certificate.pem").write_bytes(signed.public_bytes(encoding))
    return folder / "certificate.pem", folder / "key.pem"


@pytest.mark.parametrize(
    ("make_client", "name", "is_trusted", "is_accepted"),
    [
        # aiohttp reads the trusted certificates when it is imported.
        (RelayClient, x509.IPAddress(IPv4Address("127.0.0.1")), True, True),
        (RelayClient, x509.IPAddress(IPv4Address("127.0.0.1")), False, False),
        (RelayClient, x509.DNSName("example.com"), True, False),
        (HttpxClient, x509.IPAddress(IPv4Address("127.0.0.1")), False, False),
    ],
    ids=["good", "unknown issuer", "another name", "httpx: unknown issuer"],
)
def test_certificates_are_verified(
    make_client: type[Transport],
    name: x509.GeneralName,
    is_trusted: bool,
    is_accepted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pem, key = certificate(tmp_path, name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    tls_context.cache_clear()
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(OK + b"content-length: 2\r\n\r\nhi")

    @in_loop
    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        target = Target(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        client = make_client()
        try:
            if is_accepted:
                assert await whole(await post(client, target)) == b"hi"
            else:
                with pytest.raises(ConnectError):
                    await post(client, target)
        finally:
            await client.close()
            server.close()

    run()
    tls_context.cache_clear()
