"""A request's timers, behind one timer of the event loop.

A timer per wait would cost more than the waits: `asyncio.timeout` around each chunk of a stream is
several times the cost of passing the chunk on. Here a chunk costs one reading of the clock. The one
loop timer wakes when the earliest deadline may have passed, looks, and sleeps again. A deadline
that has passed cancels the request's task, with its reason kept here; whoever catches the
cancellation finds the reason, or finds none: then it was the client who left.
"""

import asyncio
from typing import Literal

from api.catalogue import UpstreamEntry
from api.relay.downstream import Downstream

Reason = Literal["first_token", "idle", "total", "write", "shutdown"]


class Watch:
    """Watches over one request's task, from its first attempt until `stop`."""

    __slots__ = (
        "_downstream",
        "_handle",
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
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("A watch needs a task to watch over.")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._downstream = downstream
        self._total_by = self._loop.time() + total_seconds
        self._write_seconds = write_seconds
        self._keepalive_seconds = keepalive_seconds
        self._idle_seconds = 0.0
        self._silent_by = self._total_by
        self._silent_reason: Reason = "first_token"
        self._reason: Reason | None = None
        self._handle: asyncio.TimerHandle | None = None

    def begin_attempt(self, upstream: UpstreamEntry) -> None:
        """Starts the wait for an upstream's first token."""
        self._reason = None
        self._idle_seconds = upstream.idle_timeout_seconds
        self._silent_by = self._loop.time() + upstream.first_token_timeout_seconds
        self._silent_reason = "first_token"
        self._arm()

    def saw_data(self) -> None:
        """Starts the wait for the upstream's next data anew."""
        self._silent_by = self._loop.time() + self._idle_seconds
        self._silent_reason = "idle"

    def end_attempts(self) -> None:
        """Stops waiting for upstreams; the client still has to read in time."""
        self._silent_by = self._total_by = float("inf")

    def abort(self, reason: Reason) -> None:
        """Cancels the task, for a reason that `take_reason` then gives."""
        if self._reason is None:
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
        if self._reason is None or self._task.uncancel() > 0:
            return None
        return self._reason

    def stop(self) -> None:
        """Ends the watch."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(self._next_look(self._loop.time()), self._look)

    def _next_look(self, now: float) -> float:
        """Returns the earliest time at which a deadline may have passed.

        Data and writes move deadlines further away, but a write that begins now sets a new one.
        """
        written_by = (self._downstream.blocked_since or now) + self._write_seconds
        earliest = min(self._silent_by, self._total_by, written_by)
        if self._keepalive_seconds is not None:
            earliest = min(earliest, self._downstream.quiet_since + self._keepalive_seconds)
        return earliest

    def _look(self) -> None:
        self._handle = None
        now = self._loop.time()
        blocked_since = self._downstream.blocked_since
        if blocked_since is not None and now >= blocked_since + self._write_seconds:
            self.abort("write")
            return
        if blocked_since is not None:
            # While the client doesn't read, we don't read either: the upstream isn't to blame.
            self._silent_by = max(self._silent_by, now + self._idle_seconds)
        if now >= self._total_by:
            self.abort("total")
            return
        if now >= self._silent_by:
            self.abort(self._silent_reason)
            return
        if (
            self._keepalive_seconds is not None
            and now >= self._downstream.quiet_since + self._keepalive_seconds
        ):
            self._downstream.keep_alive()
        self._handle = self._loop.call_at(self._next_look(now), self._look)
