"""Errors as HTTP responses, in OpenAI's shape."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from api.errors import ApiError, AuthenticationError
from api.surfaces import Surface

_UNSAFE_IN_HEADER = re.compile(r"[^\x20-\x7e]")
_encode = msgspec.json.Encoder().encode


class RenderedError(NamedTuple):
    """An error as a response in some dialect. Whoever sends it adds `x-request-id`."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def rendered(
    error: ApiError, surface: Surface | None = None, request_id: str = ""
) -> RenderedError:
    """Return an error as a response in OpenAI's shape, which has no place for the request's id."""
    return RenderedError(error.status, error.headers, render_body(error, surface))


def render(
    error: ApiError, surface: Surface | None = None
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return an error's status, headers (lower-case names, length included) and JSON body."""
    response = rendered(error, surface)
    return response.status, headers_of(response), response.body


def render_body(error: ApiError, surface: Surface | None = None) -> bytes:
    """Return an error's JSON alone, in OpenAI's shape."""
    return _encode(error_object(error, surface))


def error_object(error: ApiError, surface: Surface | None = None) -> dict[str, dict[str, Any]]:
    """Return an error's JSON object; two of the documented services differ on a 401."""
    shown = {"message": error.message, "type": error.type, "code": error.code, "param": error.param}
    if isinstance(error, AuthenticationError) and surface is not None:
        shown["type"] = surface.auth_error_type
        if surface.auth_error_type == "authentication_error":
            del shown["param"]
    return {"error": shown}


def headers_of(error: RenderedError) -> list[tuple[bytes, bytes]]:
    """Return the headers of an error, with lower-case names."""
    length = b"%d" % len(error.body)
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    return headers + [
        (name.lower().encode("ascii"), _UNSAFE_IN_HEADER.sub(" ", value).encode("ascii"))
        for name, value in error.headers.items()
    ]
