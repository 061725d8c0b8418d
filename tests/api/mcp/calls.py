"""Calls of the MCP server, in JSON-RPC as clients of both eras send it."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from asgiref.sync import async_to_sync

from tests.api.served import bearer, served

MODERN = "2026-07-28"
_META = "io.modelcontextprotocol/"


def rpc(method: str, request_id: Any = 1, /, **params: Any) -> dict[str, Any]:
    """Return a request of a client that has begun with `initialize`."""
    return {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}


def tool(name: str, /, **arguments: Any) -> dict[str, Any]:
    """Return a call of a tool."""
    return rpc("tools/call", name=name, arguments=arguments)


def modern(message: dict[str, Any], version: str = MODERN) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a request as clients without a handshake send it, and its headers."""
    meta = {f"{_META}protocolVersion": version, f"{_META}clientCapabilities": {}}
    params = {**message["params"], "_meta": meta}
    headers = {"mcp-protocol-version": version, "mcp-method": message["method"]}
    if "name" in params:
        headers["mcp-name"] = params["name"]
    return {**message, "params": params}, headers


class Server:
    """The server as a client with a key sees it."""

    def __init__(self, client: httpx.AsyncClient, key: str) -> None:
        self.client = client
        self.key = key

    async def post(self, message: Any, **headers: str) -> httpx.Response:
        """Return the answer to a message; underscores of headers stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"content": message} if isinstance(message, bytes) else {"json": message}
        return await self.client.post("/mcp", headers={**bearer(self.key), **named}, **content)

    async def result(self, message: Any, **headers: str) -> Any:
        """Return the result of a request that succeeds."""
        answer = await self.post(message, **headers)
        assert answer.status_code == 200, answer.text
        assert "error" not in answer.json(), answer.text
        return answer.json()["result"]

    async def call(self, name: str, /, **arguments: Any) -> Any:
        """Return what a tool found, or the text of its error."""
        result = await self.result(tool(name, **arguments))
        return result["content"][0]["text"] if result["isError"] else result["structuredContent"]


def with_server(settings: Any, key: str, use: Callable[[Server], Awaitable[Any]]) -> Any:
    """Return what `use` does with a running server."""

    async def run() -> Any:
        async with served(settings) as client:
            return await use(Server(client, key))

    return async_to_sync(run)()
