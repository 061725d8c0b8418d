"""JSON-RPC and the versions of the Model Context Protocol (modelcontextprotocol.io/specification).

Clients of two eras are served without a session. Those of 2026-07-28 and later state their version
in each request, in `_meta` and in headers that must agree with the body. Older ones begin with
`initialize`, after which a header names the version.

It is a module of our own, since what a server needs that has tools alone is this file: the official
SDK brings an ASGI framework, a validator and a server of its own (mcp 2.3: 9 packages more), and
would answer beside the API's authentication, limits, errors and log rather than through them.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MODERN = ("2026-07-28",)
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26")
SUPPORTED = MODERN + LEGACY
# A version without the header (2025-11-25, "Protocol Version Header").
WITHOUT_HEADER = "2025-03-26"

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32601, -32602, -32603
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022

_VERSION = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"

Json = dict[str, Any]


class RpcError(Exception):
    """An error of the protocol: JSON-RPC's `code`, and the HTTP status it is sent with."""

    def __init__(self, code: int, message: str, *, status: int = 400, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.data = data

    def body(self, request_id: str | int | None) -> Json:
        """Return the response, without an id if the request's could not be read."""
        error: Json = {"code": self.code, "message": str(self)}
        if self.data is not None:
            error["data"] = self.data
        named = {} if request_id is None else {"id": request_id}
        return {"jsonrpc": "2.0", **named, "error": error}


@dataclass(frozen=True)
class Call:
    """A request of a client. A notification has no id."""

    method: str
    params: Json
    id: str | int | None
    version: str = WITHOUT_HEADER

    @property
    def is_modern(self) -> bool:
        """Whether the client speaks a version without a handshake."""
        return self.version in MODERN

    def result(self, fields: Json, server: Json) -> Json:
        """Return the response. `server` names ours, as modern versions have it in each result."""
        if self.is_modern:
            fields = {"resultType": "complete", **fields, "_meta": {SERVER_INFO: server}}
        return {"jsonrpc": "2.0", "id": self.id, "result": fields}


def id_of(message: Json) -> str | int | None:
    """Return a message's id, if it is one."""
    found = message.get("id")
    return found if isinstance(found, str) or type(found) is int else None


def read_call(message: Json, headers: Mapping[bytes, bytes]) -> Call:
    """Return the request or the notification in a POST's body. Raise RpcError."""
    method, params = message.get("method"), message.get("params", {})
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise RpcError(INVALID_REQUEST, "Expected a JSON-RPC 2.0 request.")
    if not isinstance(params, dict):
        raise RpcError(INVALID_REQUEST, "Expected an object as 'params'.")
    if "id" not in message:
        return Call(method, params, None)
    request_id = id_of(message)
    if request_id is None:
        raise RpcError(INVALID_REQUEST, "Expected a string or an integer as 'id'.")
    meta = params.get("_meta")
    stated = meta.get(_VERSION) if isinstance(meta, dict) else None
    in_header = _text(headers, b"mcp-protocol-version")
    if stated is None and in_header not in MODERN:
        return Call(method, params, request_id, _legacy_version(method, in_header))
    if not isinstance(stated, str):
        raise RpcError(INVALID_PARAMS, f"Expected the protocol's version in '_meta': {_VERSION}.")
    if stated != in_header:
        raise _mismatch("MCP-Protocol-Version", in_header, stated)
    if stated in MODERN:
        _check_modern(method, params, headers)
    elif stated not in LEGACY:
        raise _unsupported(stated)
    return Call(method, params, request_id, stated)


def negotiated(params: Json) -> str:
    """Return the version that `initialize` agrees on: the client's, or the newest with a handshake.

    Raise RpcError.
    """
    wanted = params.get("protocolVersion")
    if not isinstance(wanted, str):
        raise RpcError(INVALID_PARAMS, "Expected a string as 'protocolVersion'.", status=200)
    return wanted if wanted in LEGACY else LEGACY[0]


def _legacy_version(method: str, in_header: str | None) -> str:
    if method == "initialize" or in_header is None:
        return WITHOUT_HEADER
    if in_header not in LEGACY:
        raise _unsupported(in_header)
    return in_header


def _check_modern(method: str, params: Json, headers: Mapping[bytes, bytes]) -> None:
    """Check what a modern request repeats in headers, so that proxies and we see the same."""
    if not isinstance(params["_meta"].get(_CAPABILITIES), dict):
        raise RpcError(INVALID_PARAMS, f"Expected an object in '_meta': {_CAPABILITIES}.")
    named = _text(headers, b"mcp-method")
    if named != method:
        raise _mismatch("Mcp-Method", named, method)
    if method == "tools/call":
        tool = _decoded(_text(headers, b"mcp-name"))
        if tool != params.get("name"):
            raise _mismatch("Mcp-Name", tool, params.get("name"))


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1").strip()


def _decoded(value: str | None) -> str | None:
    """Return a header's value, decoded if it is in the form for text beyond ASCII."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise RpcError(HEADER_MISMATCH, "Header mismatch: Mcp-Name is not valid base64.") from None


def _mismatch(name: str, header: str | None, body: Any) -> RpcError:
    shown = "is missing" if header is None else f"is {header[:80]!r}"
    return RpcError(
        HEADER_MISMATCH, f"Header mismatch: {name} {shown}, and the body has {str(body)[:80]!r}."
    )


def _unsupported(version: str) -> RpcError:
    return RpcError(
        UNSUPPORTED_VERSION,
        "Unsupported protocol version",
        data={"supported": list(SUPPORTED), "requested": version[:80]},
    )
