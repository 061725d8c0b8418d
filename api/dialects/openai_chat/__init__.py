"""OpenAI's chat completions, as its SDKs and most providers speak them."""

from typing import Any

import msgspec

from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.base import OpenAiFamily, ParsedRequest
from api.dialects.openai_chat.answer import CompletionAnswer
from api.dialects.openai_chat.request import parse_chat
from api.dialects.openai_chat.stream import CompletionStreamReader

_encode = msgspec.json.Encoder().encode


class TextDialect(OpenAiFamily):
    """What chat completions and the legacy completions share."""

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields, encoded anew.

        They get the upstream's name of the model, and the output limit that was paid for, always
        under the one name that every upstream knows.
        """
        body: dict[str, Any] = {
            **request.fields,
            "model": route.upstream_model,
            "max_tokens": max_tokens,
        }
        body.pop("max_completion_tokens", None)
        if request.is_streamed:
            body["stream_options"] = {"include_usage": True}
        if model.default_temperature is not None and body.get("temperature") is None:
            body["temperature"] = model.default_temperature
        if model.default_top_p is not None and body.get("top_p") is None:
            body["top_p"] = model.default_top_p
        return _encode(body)


class ChatDialect(TextDialect):
    """Chat completions."""

    name = "openai_chat"
    path = "/chat/completions"
    parse = staticmethod(parse_chat)
    read_answer = staticmethod(CompletionAnswer)
    stream_reader = staticmethod(CompletionStreamReader)


CHAT = ChatDialect()
