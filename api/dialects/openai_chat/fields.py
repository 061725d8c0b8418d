"""What chat completions and the legacy completions share as requests to upstreams."""

from typing import Any

import msgspec

from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.base import OpenAiFamily, ParsedRequest
from api.dialects.fields import passed_fields

Json = dict[str, Any]

_encode = msgspec.json.Encoder().encode


class TextDialect(OpenAiFamily):
    """What chat completions and the legacy completions share."""

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields, re-encoded, as far as they go upstream.

        They get the upstream's name of the model, the output limit that was paid for under the name
        that the route's upstream knows, and for developer messages a role that it takes.
        """
        known = self.known_fields
        body = passed_fields(request.fields, known, model, route)
        if "messages" in known and not route.takes_developer_role:
            body["messages"] = _without_developers(body["messages"])
        if request.service_tier:
            body["service_tier"] = request.service_tier
        finish_body(body, model, route, max_tokens, is_streamed=request.is_streamed)
        return _encode(body)


def finish_body(
    body: Json, model: ModelEntry, route: RouteEntry, max_tokens: int, *, is_streamed: bool
) -> None:
    """Put into a body what every call says, as far as the route's upstream takes it.

    That is the upstream's name of the model, the output limit that was paid for, the request for
    usage in a stream, and the model's defaults for sampling.
    """
    for name in ("max_tokens", "max_completion_tokens", "stream_options"):
        body.pop(name, None)
    body["model"] = route.upstream_model
    body[route.max_tokens_field] = max_tokens
    if is_streamed and route.takes_stream_options:
        body["stream_options"] = {"include_usage": True}
    if not route.takes_temperature:
        body.pop("temperature", None)
        body.pop("top_p", None)
        return
    if model.default_temperature is not None and body.get("temperature") is None:
        body["temperature"] = model.default_temperature
    if model.default_top_p is not None and body.get("top_p") is None:
        body["top_p"] = model.default_top_p


def _without_developers(messages: list[Json]) -> list[Json]:
    """Return messages with those of a developer as those of the system."""
    return [
        {**message, "role": "system"} if message["role"] == "developer" else message
        for message in messages
    ]
