"""Reads a request's body: JSON, bounded before and while it comes."""

import asyncio
from contextlib import suppress

from api import errors
from api.relay.call import Call
from api.relay.strictjson import InvalidJsonError, decode_object

# A client that still sends what was refused would see a reset connection instead of our answer:
# so much and so long we go on reading.
LINGER_BYTES = 256 * 1024 * 1024
LINGER_SECONDS = 5


def check_head(call: Call, max_bytes: int) -> None:
    """Refuses a body by its headers, before any of it is read."""
    headers = call.headers
    if stated_length(call) > max_bytes:
        raise _too_large(max_bytes)
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise errors.UnsupportedMediaTypeError("Send the body without a Content-Encoding.")
    if headers.get(b"content-type") == b"application/json":
        return
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type not in {b"application/json", b""} and not media_type.endswith(b"+json"):
        raise errors.UnsupportedMediaTypeError()


def stated_length(call: Call) -> int:
    """Returns the body's length as its header states it, or 0."""
    stated = call.headers.get(b"content-length", b"0")
    return int(stated) if stated.isdigit() else 0


async def read_object(call: Call, max_bytes: int) -> tuple[dict[str, object], int]:
    """Returns the JSON object in the body, and how many bytes it had.

    Raises RequestTooLargeError, or InvalidJsonError for what is no acceptable JSON object.
    """
    body = await _read(call, max_bytes)
    try:
        return decode_object(body), len(body)
    except InvalidJsonError as error:
        raise errors.InvalidJsonError(f"The body is not valid JSON: {error}") from None


async def linger(call: Call) -> None:
    """Reads and drops what is left of a refused body, within bounds."""
    left = LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0:
                message = await call.receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))


async def _read(call: Call, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await call.receive()
        if message["type"] != "http.request":
            raise errors.InvalidRequestError("The body did not arrive in time.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            call.is_body_read = True
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(max_bytes: int) -> errors.RequestTooLargeError:
    return errors.RequestTooLargeError(
        f"The body is larger than {max_bytes:,} bytes. Send a smaller one."
    )
