"""Requests' timers, kept by one clock for all of them.

`asyncio.timeout` around each wait would cost several times what the waits' chunks cost, and even
one loop timer a request is 3 µs of its 100. So a request only notes deadlines, a chunk costs one
reading of the clock, and a `Clock` looks at all requests ten times a second. A deadline that has
passed cancels the request's task, with its reason kept here; whoever catches the cancellation finds
the reason, or finds none: then it was the client who left.
"""

import asyncio
import math
from typing import Literal

from api.catalogue.snapshot import UpstreamEntry
from api.relay.downstream import Downstream

TICK_SECONDS = 0.1

Reason = Literal["first_token", "idle", "total", "write", "shutdown"]


class Watch:
    """Watches over one request's task while a clock holds it. Times are the loop's seconds."""

    __slots__ = (
        "_downstream",
        "_idle_seconds",
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
    ) -> None:
        """Watches over the current task. Without `keepalive_seconds` silence stays silent."""
        self._loop = loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = asyncio.current_task(loop)
        self._downstream = downstream
        self._total_by = loop.time() + total_seconds
        self._write_seconds = write_seconds
        self._keepalive_seconds = keepalive_seconds
        self._idle_seconds = 0.0
        self._silent_by = self._total_by
        self._silent_reason: Reason = "first_token"
        self._reason: Reason | None = None

    def begin_attempt(self, upstream: UpstreamEntry) -> None:
        """Starts the wait for an upstream's first token."""
        self._idle_seconds = upstream.idle_timeout_seconds
        self._silent_by = self._loop.time() + upstream.first_token_timeout_seconds
        self._silent_reason = "first_token"

    def saw_data(self) -> None:
        """Starts the wait for the upstream's next data anew."""
        self._silent_by = self._loop.time() + self._idle_seconds
        self._silent_reason = "idle"

    def end_attempts(self) -> None:
        """Stops waiting for upstreams; the client still has to read in time."""
        self._silent_by = self._total_by = math.inf

    def allow(self, seconds: float) -> None:
        """Gives what is left to do so much time from now on."""
        self._total_by = self._loop.time() + seconds

    def abort(self, reason: Reason) -> None:
        """Cancels the task, for a reason that `take_reason` then gives."""
        if self._reason is None and self._task is not None:
            self._reason = reason
            self._task.cancel()

    @property
    def is_quiet(self) -> bool:
        """Whether this watch did not cancel the task, so that a cancellation is the client's."""
        return self._reason is None

    def take_reason(self) -> Reason | None:
        """Returns why the task was cancelled, and undoes our part in it; None: by the client.

        Where both happened, the client counts.
        """
        reason, self._reason = self._reason, None
        if reason is None or self._task is None or self._task.uncancel() > 0:
            return None
        return reason

    def look(self, now: float) -> None:
        """Acts on the deadlines that have passed: aborts, or sends a sign of life."""
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


class Clock:
    """Looks at this process's requests, ten times a second."""

    def __init__(self) -> None:
        self.watches: set[Watch] = set()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Starts looking."""
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def stop(self) -> None:
        """Stops looking."""
        if self._timer is not None:
            self._timer.cancel()

    def abort_all(self, reason: Reason) -> None:
        """Cancels every request."""
        for watch in list(self.watches):
            watch.abort(reason)

    def _tick(self) -> None:
        now = self._loop.time()
        for watch in list(self.watches):
            watch.look(now)
        self.start()
