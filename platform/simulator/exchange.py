"""One HTTP exchange: the request as it was read, and the answer as it goes out.

Everything the simulator sends goes through `HttpExchange`, which keeps the journal entry true:
tokens are counted when their bytes are handed to the server, not when they are planned.
"""

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec

from simulator.dialect import OPENAI, Dialect
from simulator.errors import SimulatedError
from simulator.journal import Entry

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[str, str]]

MAX_BODY_BYTES = 64 * 2**20
# What was written before a reset must reach the client first: a reset throws away what waits.
RESET_DELAY_S = 0.05

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose body has been read."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    too_large: bool = False
    query_text: str = ""

    @property
    def authorized(self) -> bool:
        """Return whether a bearer token or an `x-api-key` came; neither is ever kept."""
        return self.has_bearer or bool(self.headers.get("x-api-key", "").strip())

    @property
    def has_bearer(self) -> bool:
        """Return whether a bearer token came."""
        return bool(self.bearer)

    @property
    def bearer(self) -> str:
        """Return the bearer token that came, or an empty text."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    def json(self) -> dict[str, Any]:
        """Return the body's JSON object. Raise SimulatedError for anything else."""
        if self.too_large:
            raise SimulatedError("The body is too large.", status=413)
        try:
            body = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise SimulatedError(f"The body is not valid JSON: {error}") from error
        if not isinstance(body, dict):
            raise SimulatedError("The body is not a JSON object.")
        return body


async def read_request(scope: Message, receive: Receive) -> Request | None:
    """Return the request, or None where the client left before its end."""
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        # The rest of a body that is too large is read and dropped, so the 413 can be delivered.
        parts = [] if size > MAX_BODY_BYTES else [*parts, part] if part else parts
        more = message.get("more_body", False)
    query_text = scope.get("query_string", b"").decode("latin-1")
    query = parse_qs(query_text, keep_blank_values=True)
    return Request(
        method=scope["method"],
        path=scope["path"],
        query={name: values[-1] for name, values in query.items()},
        headers={name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]},
        body=b"".join(parts),
        too_large=size > MAX_BODY_BYTES,
        query_text=query_text,
    )


class HttpExchange:
    """A request and the response to it, which it sends and enters in the journal."""

    def __init__(self, request: Request, entry: Entry, receive: Receive, send: Send) -> None:
        self.request = request
        self.entry = entry
        self.dialect: Dialect = OPENAI
        self.id = entry.answer_id = f"req_sim_{next(_numbers):08d}"
        self.split = 0
        self.started = False
        self._receive = receive
        self._send = send
        self._carried = b""

    async def start(self, status: int, content_type: str, headers: Headers = ()) -> None:
        """Begin the answer. Many servers hold the headers back until the first body bytes."""
        pairs = [("content-type", content_type), *headers, (self.dialect.id_header, self.id)]
        self.entry.status = status
        self.started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in pairs],
            }
        )

    async def write(self, data: bytes, tokens: int = 0) -> None:
        """Hand bytes to the server, and count the tokens in them as sent.

        They count from the hand-over on, not from when a slow reader has made room for more.
        """
        self.entry.tokens_sent += tokens
        if self.split:
            await self._write_split(data)
        elif data:
            await self._hand_over(data)

    async def flush(self) -> None:
        """Hand over what `split` still holds back."""
        if self._carried:
            data, self._carried = self._carried, b""
            await self._hand_over(data)

    async def finish(self, end: str = "completed") -> None:
        """End the body properly."""
        await self.flush()
        # Closed before the terminator goes out: whoever saw the end of the body finds it
        # in the journal, and a server's own "disconnect" after the end changes nothing.
        self.entry.close(end)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def answer(
        self,
        status: int,
        body: Any,
        *,
        headers: Headers = (),
        tokens: int = 0,
        end: str = "completed",
    ) -> None:
        """Send a whole JSON answer with its length."""
        data = encode_json(body)
        await self.start(status, "application/json", [*headers, ("content-length", str(len(data)))])
        await self.write(data, tokens)
        await self.finish(end)

    async def fail(self, error: SimulatedError) -> None:
        """Send an error answer."""
        body = self.error_body(error)
        await self.answer(error.status, body, headers=error.headers, end="error")

    def error_body(self, error: SimulatedError) -> dict[str, Any]:
        """Return an error in the envelope of the call's dialect."""
        return self.dialect.error(error, self.id)

    async def crash(self) -> None:
        """Answer a fault of the simulator itself, where an answer is still possible."""
        self.split = 0
        if self.started:
            self.entry.close("crashed")
            return
        failure = SimulatedError("The simulator failed; see its log.", status=500)
        await self.answer(500, self.error_body(failure), end="crashed")

    async def cut(self, end: str = "cut") -> None:
        """Break the connection off. Returning with an unfinished body makes servers close it."""
        await self.flush()
        self.entry.close(end)

    async def reset(self) -> None:
        """Break the connection off with a TCP reset; where that is out of reach, with a close."""
        await self.flush()
        await asyncio.sleep(RESET_DELAY_S)
        self.entry.close("reset")
        abort(self._receive, linger=False)

    async def drop(self) -> None:
        """Close the connection before any byte of an answer."""
        self.entry.close("dropped")
        if not abort(self._receive, linger=True):
            # Elsewhere the headers may be seen, but never a body.
            await self.start(200, "application/json")

    async def _write_split(self, data: bytes) -> None:
        data = self._carried + data
        whole = len(data) - len(data) % self.split
        self._carried = data[whole:]
        for start in range(0, whole, self.split):
            await self._hand_over(data[start : start + self.split])
            # Lets the loop send this piece before the next one joins it.
            await asyncio.sleep(0)

    async def _hand_over(self, data: bytes) -> None:
        self.entry.mark_first_byte()
        await self._send({"type": "http.response.body", "body": data, "more_body": True})


def encode_json(body: Any, spaced: bool = False) -> bytes:
    """Return compact JSON, or with a space after each comma and colon, as Python writes it."""
    return json.dumps(body, separators=(", ", ": ") if spaced else (",", ":")).encode()


def abort(receive: Receive, *, linger: bool) -> bool:
    """Close the connection under an ASGI `receive`; return whether it could be reached.

    ASGI has no word for this. gunicorn's and uvicorn's `receive` are methods of objects that hold
    the transport. Without `linger` the kernel sends a reset instead of an orderly end.
    """
    owner = getattr(receive, "__self__", None)
    transport: Any = getattr(owner, "transport", None)
    transport = transport or getattr(getattr(owner, "protocol", None), "transport", None)
    if transport is None or not hasattr(transport, "abort"):
        return False
    connection = transport.get_extra_info("socket")
    if not linger and connection is not None:
        with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    return True
