"""A whole response, put together from its stream: the reader has it once the stream has ended."""

from typing import Any

from api.dialects.assembly import BaseAssembler, collecting_context
from api.dialects.base import AnswerContext
from api.dialects.openai_responses.stream import ResponseStreamReader

Json = dict[str, Any]


class ResponseAssembler(BaseAssembler):
    """Reads a response's stream to its end."""

    def __init__(self, context: AnswerContext) -> None:
        self._stream = ResponseStreamReader(collecting_context(context))
        super().__init__(self._stream, context.max_event_bytes)

    def take(self, event: Json) -> None:
        """Keep nothing: the reader does."""

    def whole(self) -> Json:
        """Return the response."""
        return {"object": "response", **self._stream.response}
