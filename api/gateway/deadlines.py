"""The deadlines of requests, checked by one ticker for all of them.

`asyncio.timeout` around each wait would cost several times as much as the chunk waited for, and one
event-loop timer per request takes 3 of its 100 µs. So a request only records its deadlines, a chunk
costs one reading of the clock, and a `DeadlineTicker` checks all requests ten times a second. A
deadline that has passed cancels the request's task and keeps its reason here. Code that catches the
cancellation finds the reason; without one, the client disconnected.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Literal

from api.catalogue.snapshot import UpstreamEntry
from api.gateway.http import Downstream

TICK_SECONDS = 0.1

Reason = Literal["first_token", "idle", "total", "write", "shutdown"]


class Deadlines:
    """One request's deadlines, in the event loop's seconds."""

    __slots__ = (
        "_downstream",
        "_idle_seconds",
        "_is_prompt",
        "_keepalive_seconds",
        "_loop",
        "_reason",
        "_silent_by",
        "_silent_reason",
        "_task",
        "_total_by",
        "_write_seconds",
    )

    def __init__(
        self,
        downstream: Downstream,
        *,
        total_seconds: float,
        write_seconds: float,
        keepalive_seconds: float | None,
        is_prompt: bool,
    ) -> None:
        """Set the current task's deadlines. Without `keepalive_seconds` no keep-alives are sent.

        An answer `is_prompt` if its first token is due soon. One in a single piece is not: it comes
        when all of it is generated, and only the total bounds that.
        """
        self._loop = loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = asyncio.current_task(loop)
        self._downstream = downstream
        self._total_by = loop.time() + total_seconds
        self._write_seconds = write_seconds
        self._keepalive_seconds = keepalive_seconds
        self._is_prompt = is_prompt
        self._idle_seconds = 0.0
        self._silent_by = self._total_by
        self._silent_reason: Reason = "first_token"
        self._reason: Reason | None = None

    def begin_attempt(self, upstream: UpstreamEntry) -> None:
        """Start the wait for an upstream's first token."""
        self._idle_seconds = upstream.idle_timeout_seconds
        self._silent_by = self._total_by
        self._silent_reason = "first_token"
        if self._is_prompt:
            self.expect_events(upstream)

    def expect_events(self, upstream: UpstreamEntry) -> None:
        """Let the first token be due soon in this attempt, as its upstream was asked for events."""
        self._silent_by = self._loop.time() + upstream.first_token_timeout_seconds

    def saw_data(self) -> None:
        """Restart the wait for the upstream's next data."""
        self._silent_by = self._loop.time() + self._idle_seconds
        self._silent_reason = "idle"

    def pause(self) -> None:
        """Expect nothing of the upstream until `saw_data`: the wait is for something else."""
        self._silent_by = math.inf

    def end_attempts(self) -> None:
        """Stop waiting for upstreams; the client still has to read in time."""
        self._silent_by = self._total_by = math.inf

    async def wait_for(self, future: asyncio.Future[Any] | None, seconds: float) -> None:
        """Wait no longer for upstreams, but until a future is done or `seconds` have passed.

        Whatever else ends the wait cancels the future. Raise CancelledError if the client
        disconnected.
        """
        self.end_attempts()
        if future is None or future.done():
            return
        self._total_by = self._loop.time() + seconds
        try:
            await future
        except asyncio.CancelledError:
            if self.take_reason() is None:
                raise
        self._total_by = math.inf

    def abort(self, reason: Reason) -> None:
        """Cancel the task, for a reason that `take_reason` then returns."""
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.cancel()

    @property
    def is_quiet(self) -> bool:
        """Whether no deadline cancelled the task, so that a cancellation is the client's."""
        return self._reason is None

    def take_reason(self) -> Reason | None:
        """Return why a deadline cancelled the task and undo that, or None if the client did.

        Where both happened, the client counts.
        """
        reason, self._reason = self._reason, None
        if reason is None or self._task is None or self._task.uncancel() > 0:
            return None
        return reason

    def check(self, now: float) -> None:
        """Act on deadlines that have passed: abort, or send a keep-alive."""
        downstream = self._downstream
        blocked_since = downstream.blocked_since
        if blocked_since is not None:
            # While the client doesn't read, we don't read either: the upstream isn't to blame.
            self._silent_by = max(self._silent_by, now + self._idle_seconds)
            if now >= blocked_since + self._write_seconds:
                self.abort("write")
                return
        if now >= self._total_by:
            self.abort("total")
        elif now >= self._silent_by:
            self.abort(self._silent_reason)
        elif (
            self._keepalive_seconds is not None
            and now >= downstream.quiet_since + self._keepalive_seconds
        ):
            downstream.keep_alive()


class DeadlineTicker:
    """Checks the deadlines of this process's requests ten times a second.

    At each check it also calls `on_tick`, with the seconds by which the event loop was late for it.
    """

    def __init__(self, on_tick: Callable[[float], None]) -> None:
        self.running: set[Deadlines] = set()
        self._on_tick = on_tick
        self._loop = asyncio.get_running_loop()
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start checking."""
        self._due_at = self._loop.time() + TICK_SECONDS
        self._timer = self._loop.call_at(self._due_at, self._tick)

    def stop(self) -> None:
        """Stop checking."""
        if self._timer is not None:
            self._timer.cancel()

    def abort_all(self, reason: Reason) -> None:
        """Cancel every request."""
        for each in list(self.running):
            each.abort(reason)

    def _tick(self) -> None:
        now = self._loop.time()
        self._on_tick(now - self._due_at)
        for each in list(self.running):
            each.check(now)
        self.start()
