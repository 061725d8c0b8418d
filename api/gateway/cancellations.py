"""How often each key cancels requests, which limits what it can save by early ends."""

import asyncio
import time


class Cancellations:
    """Each key's cancellations in this process, counted in windows of `window_seconds`.

    `over` are the keys that have reached the limit in their current window.
    """

    MAX_KEYS = 10_000

    def __init__(self, limit: int, window_seconds: float) -> None:
        self._limit = limit
        self._window_seconds = window_seconds
        self._windows: dict[int, tuple[float, int]] = {}
        self.over: set[int] = set()

    def note(self, key_id: int) -> None:
        """Count a cancellation."""
        now = time.monotonic()
        ends_at, count = self._windows.pop(key_id, (0.0, 0))
        if ends_at <= now:
            ends_at, count = now + self._window_seconds, 0
        self._windows[key_id] = (ends_at, count + 1)
        if count + 1 >= self._limit and key_id not in self.over:
            self.over.add(key_id)
            loop = asyncio.get_running_loop()
            loop.call_later(ends_at - now, self.over.discard, key_id)
        if len(self._windows) > self.MAX_KEYS:
            # The key whose last cancellation is the oldest.
            del self._windows[next(iter(self._windows))]
