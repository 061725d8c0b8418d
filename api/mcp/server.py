"""`POST /mcp`: the Model Context Protocol over streamable HTTP, a JSON answer to each request."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django.conf import settings

from api import errors
from api.error_responses import RenderedError
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.mcp import protocol
from api.mcp.protocol import Call, Json, RpcError
from api.mcp.tools import Caller, caller_of, find_tool, run_tool, tools_of
from api.operations.base import KEY_ERRORS, Operation
from api.operations.health import VERSION
from api.phrases import Phrase
from api.surfaces import Surface

# A quote's body is the only large argument.
LARGEST_BODY_BYTES = 1024 * 1024
TOOLS_FRESH_MS = 3_600_000
INSTRUCTIONS = (
    "Balance, usage, models and prices of this LLM API. Amounts are US dollars. Ask for a quote "
    "before an expensive request. A management key can also create limited API keys."
)
_NO_STORE = [(b"cache-control", b"no-store")]
_encode = msgspec.json.Encoder().encode


async def serve_mcp(gateway: Gateway, request: ApiRequest) -> None:
    """Answer one message. Raise an error of `api.errors`."""
    _check_origin(request.headers)
    caller = await caller_of(gateway, request)
    message, _ = await request.read_object(LARGEST_BODY_BYTES)
    try:
        call = protocol.read_call(message, request.headers)
        if call.id is None:
            await request.respond(b"", status=202)
            return
        name = gateway.catalogue.current.service.name
        server = {"name": "llm-api", "title": name, "version": VERSION}
        result = await _result_of(call, caller, server)
        await request.respond(_encode(call.result(result, server)), headers=_NO_STORE)
    except RpcError as error:
        body = _encode(error.body(protocol.id_of(message)))
        await request.respond(body, status=error.status)


async def _result_of(call: Call, caller: Caller, server: Json) -> Json:
    """Return the result of a request. Raise RpcError and an error of `api.errors`."""
    match call.method:
        case "tools/list":
            found: Json = {"tools": tools_of(caller)}
            if call.is_modern:
                found |= {"ttlMs": TOOLS_FRESH_MS, "cacheScope": "private"}
            return found
        case "tools/call":
            return await _call_tool(call, caller)
        case "server/discover" if call.is_modern:
            return {
                "supportedVersions": list(protocol.SUPPORTED),
                "capabilities": {"tools": {}},
                "instructions": INSTRUCTIONS,
                "ttlMs": TOOLS_FRESH_MS,
                "cacheScope": "public",
            }
        case "initialize" if not call.is_modern:
            return {
                "protocolVersion": protocol.negotiated(call.params),
                "capabilities": {"tools": {}},
                "serverInfo": server,
                "instructions": INSTRUCTIONS,
            }
        case "ping" if not call.is_modern:
            return {}
    raise RpcError(
        protocol.METHOD_NOT_FOUND,
        f"Method not found: {call.method[:80]}",
        status=404 if call.is_modern else 200,
    )


async def _call_tool(call: Call, caller: Caller) -> Json:
    """Return a tool's result; an error that the model can act on is a result, too.

    Raise RpcError for an unknown tool, and AuthenticationError.
    """
    name, given = call.params.get("name"), call.params.get("arguments", {})
    tool = find_tool(caller, name)
    if tool is None:
        raise RpcError(protocol.INVALID_PARAMS, f"Unknown tool: {str(name)[:80]}", status=200)
    if not isinstance(given, dict):
        text = "Expected an object as 'arguments'."
        raise RpcError(protocol.INVALID_PARAMS, text, status=400 if call.is_modern else 200)
    try:
        found = await run_tool(caller, tool, given)
    except errors.AuthenticationError:
        raise
    except errors.ApiError as error:
        return {"content": [_text(f"{error.code}: {error}")], "isError": True}
    encoded = _encode(found)
    return {
        "content": [_text(encoded.decode())],
        "structuredContent": msgspec.Raw(encoded),
        "isError": False,
    }


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _check_origin(headers: Mapping[bytes, bytes]) -> None:
    """Refuse a browser's page of another origin, which may have rebound its name to our address.

    Raise PermissionDeniedError (2026-07-28, "Streamable HTTP", Security).
    """
    origin = headers.get(b"origin")
    if origin is None:
        return
    own = urlsplit(settings.BASE_URL)
    if origin.decode("latin-1").strip().lower() != f"{own.scheme}://{own.netloc}".lower():
        raise errors.PermissionDeniedError(Phrase("Pages of other sites can't use this endpoint."))


def _rendered(
    error: errors.ApiError, _surface: Surface | None = None, request_id: str = ""
) -> RenderedError:
    """Return an error of the API as JSON-RPC's: without the id of a request that wasn't read."""
    data: dict[str, Any] = {"code": error.code, "request_id": request_id}
    body = RpcError(_code_of(error), error.message, data=data).body(None)
    return RenderedError(error.status, error.headers, _encode(body))


def _code_of(error: errors.ApiError) -> int:
    """Return JSON-RPC's code; errors that it has none for have their HTTP status."""
    if isinstance(error, errors.InvalidJsonError):
        return protocol.PARSE_ERROR
    if isinstance(error, errors.ServerError):
        return protocol.INTERNAL_ERROR
    return protocol.INVALID_REQUEST if error.status == 400 else error.status


class RootOperation(Operation):
    """An operation that is served at the root alone, under no mount."""

    def is_served_at(self, surface: Surface) -> bool:
        """Return whether the surface is the root."""
        return not surface.owns_mount


MCP = RootOperation(
    name="mcp",
    handle=serve_mcp,
    methods=("POST",),
    path="/mcp",
    render_error=_rendered,
    operation_id="mcp",
    tag="MCP",
    summary="Call the MCP server",
    description="The Model Context Protocol over streamable HTTP.",
    errors=KEY_ERRORS,
)
