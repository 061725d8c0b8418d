"""Anthropic's Messages, as its SDKs and Claude Code speak them."""

from collections.abc import Mapping
from typing import Any

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.anthropic_messages import translation
from api.dialects.anthropic_messages.answer import MessageAnswer
from api.dialects.anthropic_messages.assembler import MessageAssembler
from api.dialects.anthropic_messages.request import parse_count, parse_messages, upstream_fields
from api.dialects.anthropic_messages.stream import MessageStreamReader
from api.dialects.anthropic_messages.usage import shown_usage
from api.dialects.base import ParsedRequest, StreamFailure, json_dollars
from api.dialects.error_bodies import error_report
from api.error_responses import RenderedError
from api.surfaces import Surface

VERSION = "2023-06-01"
# Betas that change what the provider bills, which no price here covers.
UNPRICED_BETAS = ("context-1m", "fast-mode", "code-execution", "web-", "mcp-client", "files-api")

_encode = msgspec.json.Encoder().encode

# Anthropic's API reference, errors; 402 and 504 by the gateway contract that Claude Code carries.
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
# Trying again changes nothing until a person did something; its SDKs would, for minutes.
_FINAL = frozenset({401, 402, 403})


class MessagesDialect:
    """Messages."""

    name = family = "anthropic_messages"
    path = "/messages"
    keepalive = b'event: ping\ndata: {"type":"ping"}\n\n'
    request_id_header = b"request-id"
    forwards_headers = True
    # Anthropic's tiers with other prices are contracts: a request can only decline them.
    has_service_tiers = False
    translation = translation

    parse = staticmethod(parse_messages)
    read_answer = staticmethod(MessageAnswer)
    stream_reader = staticmethod(MessageStreamReader)
    assembler = staticmethod(MessageAssembler)
    read_error = staticmethod(error_report)

    def forwarded_headers(self, headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
        """Return the betas and the version, without the betas that change the bill."""
        forwarded = {}
        if version := headers.get(b"anthropic-version"):
            forwarded["anthropic-version"] = version.decode("latin-1")
        betas = headers.get(b"anthropic-beta", b"").decode("latin-1").split(",")
        kept = [beta for each in betas if (beta := each.strip()) and _is_free(beta)]
        if kept:
            forwarded["anthropic-beta"] = ",".join(kept)
        return forwarded

    def render_error(
        self, error: errors.ApiError, surface: Surface, request_id: str
    ) -> RenderedError:
        """Return an error as a response, in Anthropic's envelope."""
        status, headers = error.status, dict(error.headers)
        if isinstance(error, errors.BudgetExceededError):
            # A limit that the customer set, and that ends by itself.
            status = 429
        if status in _FINAL or isinstance(error, errors.BudgetExceededError):
            headers["x-should-retry"] = "false"
        headers["request-id"] = request_id
        return RenderedError(status, headers, _encode(_envelope(error, request_id)))

    def error_event(self, failure: StreamFailure) -> bytes:
        """Return an error as the last event of a stream, with the usage that is charged."""
        figures = shown_usage(None, failure.usage)
        figures["cost"] = json_dollars(failure.cost.total_nanos)
        envelope = {**_envelope(failure.error, failure.request_id), "usage": figures}
        return b"event: error\ndata: " + _encode(envelope) + b"\n\n"

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers with the key, if there is one, and the version."""
        headers = {"anthropic-version": VERSION}
        return headers | ({"x-api-key": api_key} if api_key else {})

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields with the upstream's model and the limit paid for."""
        body = upstream_fields(request.fields)
        body |= {"model": route.upstream_model, "max_tokens": max_tokens}
        thinking = body.get("thinking")
        if isinstance(thinking, dict) and (thinking.get("budget_tokens") or 0) >= max_tokens:
            # The limit was lowered to what the balance affords; the budget must stay below it.
            if max_tokens > translation.LEAST_BUDGET:
                body["thinking"] = {**thinking, "budget_tokens": max_tokens - 1}
            else:
                del body["thinking"]
        return _encode(body)


def _envelope(error: errors.ApiError, request_id: str) -> dict[str, Any]:
    kind = _TYPES.get(error.status)
    if kind is None:
        kind = "invalid_request_error" if error.status < 500 else "api_error"
    message = error.message
    if isinstance(error, errors.ContextLengthError):
        message = _too_long(error)
    elif error.param is not None and error.param not in message:
        message = f"{error.param}: {message}"
    detail = {"type": kind, "message": message, "code": error.code}
    return {"type": "error", "error": detail, "request_id": request_id}


def _too_long(error: errors.ContextLengthError) -> str:
    """Return the message in the very words by which Claude Code knows to compact a conversation."""
    if not error.most_tokens:
        return f"prompt is too long: {error.message}"
    return f"prompt is too long: {error.prompt_tokens} tokens > {error.most_tokens} maximum"


def _is_free(beta: str) -> bool:
    return not beta.startswith(UNPRICED_BETAS)


class CountTokensDialect(MessagesDialect):
    """A count of a Messages prompt's tokens."""

    path = "/messages/count_tokens"
    parse = staticmethod(parse_count)

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields with the upstream's model."""
        body = upstream_fields(request.fields) | {"model": route.upstream_model}
        for name in ("max_tokens", "stream", "metadata"):
            body.pop(name, None)
        return _encode(body)


MESSAGES = MessagesDialect()
COUNT = CountTokensDialect()
