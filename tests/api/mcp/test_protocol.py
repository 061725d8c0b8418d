"""The MCP server's protocol: versions, methods, errors, and a client of the official SDK."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from asgiref.sync import async_to_sync
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.api.mcp.calls import MODERN, Server, modern, rpc, tool, with_server
from tests.api.served import bearer, served
from tests.cast import IssuedKey

pytestmark = pytest.mark.django_db(transaction=True)

Use = Callable[[Callable[[Server], Awaitable[Any]]], Any]


@pytest.fixture
def serving(settings: Any, alices_account: Any, alices_key: IssuedKey) -> Use:
    """Return a function that uses the server with Alice's key."""
    return lambda use: with_server(settings, alices_key.plaintext, use)


def code(answer: Any) -> tuple[int, int]:
    """Return an error's HTTP status and JSON-RPC's code."""
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_of_the_official_sdk_lists_and_calls_tools(
    settings: Any, alices_account: Any, alices_key: IssuedKey, mode: str
) -> None:
    async def use() -> None:
        async with (
            served(settings) as own,
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(own._transport.app),
                headers=bearer(alices_key.plaintext),
            ) as http,
            Client(
                streamable_http_client("http://testserver/mcp", http_client=http), mode=mode
            ) as client,
        ):
            newest = MODERN if mode == "auto" else "2025-11-25"
            assert client.session.protocol_version == newest
            listed = (await client.list_tools()).tools
            assert [each.name for each in listed] == ["balance", "usage", "models", "quote"]
            found = await client.call_tool("balance", {})
            assert found.structured_content["balance"] == "0.000000000"
            wrong = await client.call_tool("usage", {"zone": "Nowhere"})
            assert wrong.is_error
            assert "zone" in wrong.content[0].text

    async_to_sync(use)()


@pytest.mark.parametrize(
    ("wanted", "agreed"),
    [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
    ],
)
def test_a_handshake_agrees_on_a_version(serving: Use, wanted: str, agreed: str) -> None:
    async def use(server: Server) -> None:
        info = {"name": "test", "version": "1"}
        hello = rpc("initialize", protocolVersion=wanted, capabilities={}, clientInfo=info)
        answer = await server.post(hello)
        result = answer.json()["result"]
        assert result["protocolVersion"] == agreed
        assert result["capabilities"] == {"tools": {}}
        assert {"name", "version"} <= set(result["serverInfo"])
        assert "mcp-session-id" not in answer.headers
        begun = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        accepted = await server.post(begun, mcp_protocol_version=agreed)
        assert (accepted.status_code, accepted.content) == (202, b"")
        assert await server.result(rpc("ping"), mcp_protocol_version=agreed) == {}
        assert await server.result(rpc("tools/list"), mcp_protocol_version=agreed)
        assert code(await server.post(rpc("initialize"))) == (200, -32602)

    serving(use)


def test_a_modern_request_needs_no_handshake(serving: Use) -> None:
    async def use(server: Server) -> None:
        message, headers = modern(rpc("server/discover"))
        found = await server.result(message, **headers)
        assert found["supportedVersions"][0] == MODERN
        assert found["resultType"] == "complete"
        assert found["_meta"]["io.modelcontextprotocol/serverInfo"]["version"]
        message, headers = modern(rpc("tools/list"))
        listed = await server.result(message, **headers)
        assert (listed["cacheScope"], listed["ttlMs"] > 0) == ("private", True)
        message, headers = modern(tool("balance"))
        headers["mcp-name"] = "=?base64?YmFsYW5jZQ==?="
        assert (await server.result(message, **headers))["isError"] is False
        for unknown in ("ping", "initialize", "resources/list"):
            message, headers = modern(rpc(unknown))
            assert code(await server.post(message, **headers)) == (404, -32601)

    serving(use)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"mcp-protocol-version": "2025-11-25"}, -32020),
        ({"mcp-protocol-version": None}, -32020),
        ({"mcp-method": "tools/list"}, -32020),
        ({"mcp-method": None}, -32020),
        ({"mcp-name": "usage"}, -32020),
        ({"mcp-name": None}, -32020),
        ({"mcp-name": "=?base64?*?="}, -32020),
    ],
)
def test_headers_that_differ_from_the_body_are_refused(
    serving: Use, changed: dict[str, Any], expected: int
) -> None:
    async def use(server: Server) -> None:
        message, headers = modern(tool("balance"))
        sent = {name: value for name, value in (headers | changed).items() if value is not None}
        answer = await server.post(message, **sent)
        assert code(answer) == (400, expected)
        assert answer.json()["id"] == 1

    serving(use)


def test_versions_that_nobody_speaks_are_refused_with_those_that_are(serving: Use) -> None:
    async def use(server: Server) -> None:
        message, headers = modern(rpc("tools/list"), "1900-01-01")
        for answer in (
            await server.post(message, **headers),
            await server.post(rpc("tools/list"), mcp_protocol_version="1900-01-01"),
        ):
            assert code(answer) == (400, -32022)
            data = answer.json()["error"]["data"]
            assert data["requested"] == "1900-01-01"
            assert {MODERN, "2025-11-25"} <= set(data["supported"])
        bare = await server.post(rpc("tools/list"), mcp_protocol_version=MODERN)
        assert code(bare) == (400, -32602)
        message, headers = modern(rpc("tools/list"))
        del message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        assert code(await server.post(message, **headers)) == (400, -32602)

    serving(use)


def test_what_is_no_request_is_refused(serving: Use) -> None:
    async def use(server: Server) -> None:
        for body, expected in (
            (b"{", -32700),
            ({"id": 1, "method": "ping"}, -32600),
            ({"jsonrpc": "2.0", "id": 1, "result": {}}, -32600),
            ({"jsonrpc": "2.0", "id": None, "method": "ping"}, -32600),
            ({"jsonrpc": "2.0", "id": True, "method": "ping"}, -32600),
            ({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}, -32600),
        ):
            assert code(await server.post(body, content_type="application/json")) == (400, expected)
        assert code(await server.post(rpc("nothing", "a"))) == (200, -32601)
        assert code(await server.post(tool("nothing"))) == (200, -32602)
        assert code(await server.post(rpc("tools/call", name="balance", arguments=[]))) == (
            200,
            -32602,
        )
        large = tool("quote", body={"text": "x" * 1_100_000})
        assert code(await server.post(large)) == (413, 413)
        assert code(await server.post(b"{}", content_type="text/plain")) == (415, 415)

    serving(use)


def test_only_posts_without_a_foreign_origin_are_answered(serving: Use, settings: Any) -> None:
    settings.BASE_URL = "https://tollgate.example"

    async def use(server: Server) -> None:
        for method in ("GET", "DELETE", "PUT"):
            refused = await server.client.request(method, "/mcp", headers=bearer(server.key))
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST, OPTIONS")
        for origin in (
            "https://evil.example",
            "null",
            "http://tollgate.example",
            "http://127.0.0.1",
        ):
            assert code(await server.post(rpc("ping"), origin=origin)) == (403, 403)
        assert await server.result(rpc("ping"), origin="https://tollgate.example") == {}
        mounted = await server.client.post("/v1/mcp", headers=bearer(server.key), json=rpc("ping"))
        assert mounted.status_code == 404

    serving(use)
