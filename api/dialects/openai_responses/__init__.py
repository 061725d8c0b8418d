"""OpenAI's Responses, as Codex and OpenAI's newer SDKs speak them."""

from typing import Any

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.base import OpenAiFamily, ParsedRequest, StreamFailure, json_dollars
from api.dialects.openai_responses import translation
from api.dialects.openai_responses.answer import ResponseAnswer
from api.dialects.openai_responses.assembler import ResponseAssembler
from api.dialects.openai_responses.request import parse_responses, upstream_fields
from api.dialects.openai_responses.stream import ResponseStreamReader, event
from api.dialects.openai_responses.usage import shown_usage
from api.error_responses import RenderedError, error_object, rendered
from api.surfaces import Surface

_encode = msgspec.json.Encoder().encode


class ResponsesDialect(OpenAiFamily):
    """Responses."""

    name = family = "openai_responses"
    path = "/responses"
    translation = translation

    parse = staticmethod(parse_responses)
    read_answer = staticmethod(ResponseAnswer)
    stream_reader = staticmethod(ResponseStreamReader)
    assembler = staticmethod(ResponseAssembler)

    def render_error(
        self, error: errors.ApiError, surface: Surface, request_id: str
    ) -> RenderedError:
        """Return an error as a response.

        Codex asks again six times after a 402. A 429 with this code is the one end that it takes at
        once.
        """
        status, headers, _ = rendered(error, surface)
        body = error_object(error, surface)
        if isinstance(error, errors.InsufficientQuotaError):
            status = 429
            body["error"]["code"] = errors.InsufficientQuotaError.code
            headers = {**headers, "x-should-retry": "false"}
        return RenderedError(status, headers, _encode(body))

    def error_event(self, failure: StreamFailure) -> bytes:
        """Return an error as the last event of a stream: a response that failed.

        Its usage is what is charged.
        """
        error = failure.error
        figures = shown_usage(None, failure.usage)
        figures["cost"] = json_dollars(failure.cost.total_nanos)
        code = _FAILURE_CODES.get(error.status, "server_error")
        if isinstance(error, errors.ContextLengthError):
            code = error.code
        response: dict[str, Any] = {
            "id": f"resp_{failure.request_id}",
            "object": "response",
            "status": "failed",
            "error": {"code": code, "message": error.message},
            "incomplete_details": None,
            "output": [],
            "usage": figures,
        }
        return event("response.failed", failure.sent_events, response=response)

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields with the upstream's model and the limit paid for."""
        body = upstream_fields(request.fields)
        body |= {"model": route.upstream_model, "max_output_tokens": max_tokens}
        if request.service_tier:
            body["service_tier"] = request.service_tier
        return _encode(body)


_FAILURE_CODES = {429: "rate_limit_exceeded", 402: "insufficient_quota", 400: "invalid_prompt"}

RESPONSES = ResponsesDialect()
