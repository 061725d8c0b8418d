"""Where an upstream may be, and what is connected to."""

import asyncio
import socket
from typing import Any

import httpcore
import pytest

from api.upstream_hosts import GuardedBackend, GuardedResolver, is_public, problem_with
from tests.api.gateway.upstream import Upstream, answer, completion
from tests.api.gateway.world import World, in_loop

PRIVATE = [
    "127.0.0.1", "10.0.0.8", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1",
    "::ffff:10.0.0.8", "64:ff9b::a00:8", "2002:a00:8::1", "::10.0.0.8", "::ffff:0:10.0.0.8",
    "64:ff9b:1::a00:8", "fec0::1", "192.0.0.192",
]  # fmt: skip


@pytest.fixture
def _public_only(settings: Any) -> None:
    settings.UPSTREAM_HOSTS = ["*"]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_no_public_ones(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *(each for each in PRIVATE if ":" not in each),
        *("[::1]", "[::ffff:7f00:1]", "localhost", "LOCALHOST.", "a.localhost", "vllm"),
        *("metadata.google.internal", "printer.local", "2130706433", "0x7f000001", "127.1"),
        *("127.0.0.0xa", "127.0.0.0x", "169.254.169\u3002254", "169.254.169\uff61254"),
        *("169.254.169.25\uff14", "169.254.169.254\u200b", "10.0.0.1\\.example.com"),
        "10.0.0.1%25.example.com",
    ],
)
@pytest.mark.usefixtures("_public_only")
def test_by_default_no_host_within_is_accepted(host: str) -> None:
    assert "list it in UPSTREAM_HOSTS" in problem_with(f"https://{host}/v1")


@pytest.mark.usefixtures("_public_only")
def test_by_default_any_public_host_is_over_https() -> None:
    assert problem_with("https://api.example.com/v1") == ""
    assert problem_with("https://1.1.1.1/v1") == ""
    assert problem_with("https://xn--bcher-kva.example/v1") == ""
    assert "over https" in problem_with("http://api.example.com/v1")


@pytest.mark.parametrize(
    ("listed", "url", "is_allowed"),
    [
        (["10.0.0.8"], "http://10.0.0.8:8000/v1", True),
        (["10.0.0.8"], "http://10.0.0.9/v1", False),
        (["10.0.0.8"], "https://api.example.com/v1", False),
        (["*", "10.0.0.8"], "https://api.example.com/v1", True),
        (["VLLM"], "http://vllm/v1", True),
        (["[::1]"], "http://[::1]/v1", True),
        ([".example.com"], "https://api.example.com/v1", True),
        ([".example.com"], "https://example.com/v1", False),
        ([".example.com"], "https://evilexample.com/v1", False),
        (["api.example.com"], "https://api.example.com.evil.example/v1", False),
        ([], "https://api.example.com/v1", False),
    ],
)
def test_a_list_names_what_is_allowed(
    settings: Any, listed: list[str], url: str, is_allowed: bool
) -> None:
    settings.UPSTREAM_HOSTS = listed
    assert (problem_with(url) == "") == is_allowed


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name resolve to these addresses."""

    def found(_host: str, port: int, *_more: Any, **_options: Any) -> list[Any]:
        tcp = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*tcp, (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.usefixtures("_public_only")
def test_a_public_name_of_a_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, "169.254.169.254")

    async def resolve() -> Any:
        return await GuardedResolver().resolve("api.example.com", 443)

    with pytest.raises(OSError, match="no public address"):
        asyncio.run(resolve())
    with pytest.raises(httpcore.ConnectError, match="no public address"):
        GuardedBackend().connect_tcp("api.example.com", 443, 1)
    resolving(monkeypatch, "10.0.0.1", "1.1.1.1")
    assert [each["host"] for each in asyncio.run(resolve())] == ["1.1.1.1"]


@in_loop
async def test_an_upstream_within_is_asked_only_if_it_is_listed(
    settings: Any,
) -> None:
    async with World(answer(completion())) as world:
        settings.UPSTREAM_HOSTS = ["*"]
        refused = await world.chat()
        assert (refused.status, world.upstream.calls) == (502, [])
        assert "127.0.0.1" not in refused.body.decode()
        settings.UPSTREAM_HOSTS = ["*", "127.0.0.1"]
        assert (await world.chat()).status == 200


@in_loop
async def test_a_public_name_that_leads_within_is_not_asked(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.UPSTREAM_HOSTS = [".listed.example", "*"]
    upstream = Upstream(answer(completion()))
    async with upstream:
        resolving(monkeypatch, "127.0.0.1")
        for host, status in (("api.listed.example", 200), ("api.example.com", 502)):
            where = {"base_url": f"http://{host}:{upstream.port}/v1"}
            settings.UPSTREAM_HOSTS = [".listed.example", "*"]
            async with World(upstreams=[Upstream(answer(completion()))], upstream=where) as world:
                assert (await world.chat()).status == status
    assert len(upstream.calls) == 1
