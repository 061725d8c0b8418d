"""The management API's reader of bodies, which are small."""

from collections.abc import Mapping
from typing import IO, Any

import msgspec
from rest_framework.parsers import BaseParser

from api.errors import InvalidJsonError, RequestTooLargeError

LARGEST_BODY_BYTES = 65_536


class JsonParser(BaseParser):
    """Reads one JSON value of at most LARGEST_BODY_BYTES.

    DRF's own parser reads a body of any size, and a deep one is a RecursionError in it.
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
                f"The body is over {LARGEST_BODY_BYTES} bytes. Send only the fields that change."
            )
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidJsonError from None
