"""The parser of the management API's request bodies."""

from collections.abc import Mapping
from typing import IO, Any

import msgspec
from rest_framework.parsers import BaseParser

from api.errors import InvalidJsonError, RequestTooLargeError
from api.phrases import Phrase

LARGEST_BODY_BYTES = 65_536


class JsonParser(BaseParser):
    """A parser of one JSON value of at most LARGEST_BODY_BYTES.

    DRF's own has no limit, and raises RecursionError for a deeply nested body.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the value. Raise InvalidJsonError and RequestTooLargeError."""
        body = stream.read(LARGEST_BODY_BYTES + 1)
        if len(body) > LARGEST_BODY_BYTES:
            raise RequestTooLargeError(
                Phrase(
                    "The body is over {largest_body_bytes} bytes. Send only the fields that "
                    "change.",
                    largest_body_bytes=LARGEST_BODY_BYTES,
                )
            )
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidJsonError from None
