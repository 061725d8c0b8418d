"""The way back to the client: one response, its clocks, and its keep-alive comments."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

KEEPALIVE = b": keepalive\n\n"


class Downstream:
    """Sends one response. Every write ends at an event's end, so a comment may follow any.

    `blocked_since` is when the write under way began, `quiet_since` when the last one did, both in
    the loop's seconds.
    """

    __slots__ = (
        "_comment",
        "_loop",
        "_send",
        "_start",
        "blocked_since",
        "has_begun",
        "quiet_since",
    )

    def __init__(self, send: Send) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._start: Mapping[str, Any] = {}
        self._comment: asyncio.Task[None] | None = None
        self.has_begun = False
        self.blocked_since: float | None = None
        self.quiet_since = self._loop.time()

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends a whole response."""
        self.blocked_since = self._loop.time()
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
        self.blocked_since = None

    def prepare_stream(self, headers: Headers) -> None:
        """Says what head goes out with the first write."""
        self._start = {"type": "http.response.start", "status": 200, "headers": headers}

    async def write(self, data: bytes, *, is_last: bool = False) -> None:
        """Sends a part of a stream, and its head before the first. Waits while the client does."""
        if self._comment is not None:
            await asyncio.wait([self._comment])
        await self._put(data, is_last)

    def keep_alive(self) -> None:
        """Sends a comment to a client that waits, unless something else is being sent."""
        if self.blocked_since is None and self._comment is None:
            self._comment = self._loop.create_task(self._put(KEEPALIVE, is_last=False))
            self._comment.add_done_callback(self._forget_comment)

    async def _put(self, data: bytes, is_last: bool) -> None:
        self.quiet_since = self.blocked_since = self._loop.time()
        if not self.has_begun:
            self.has_begun = True
            await self._send(self._start)
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})
        self.blocked_since = None

    def _forget_comment(self, comment: "asyncio.Task[None]") -> None:
        self._comment = None
