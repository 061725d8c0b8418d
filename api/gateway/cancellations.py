"""How often each key cancels requests, which limits what it can save by ending them early."""

import asyncio
import time


class Cancellations:
    """Each key's cancellations, counted in windows of `window_seconds`.

    `over` are the keys that have reached the limit in their current window. `count_exchange` adds
    what the other processes count.
    """

    MAX_KEYS = 10_000

    def __init__(self, limit: int, window_seconds: float) -> None:
        self._limit = limit
        self._window_seconds = window_seconds
        self._windows: dict[int, tuple[float, int]] = {}
        self._changes: dict[int, int] = {}
        self.over: set[int] = set()

    def note(self, key_id: int) -> None:
        """Count a cancellation in this process."""
        self.add(key_id, 1)
        self._changes[key_id] = self._changes.pop(key_id, 0) + 1
        if len(self._changes) > self.MAX_KEYS:
            del self._changes[next(iter(self._changes))]

    def take_changes(self) -> dict[int, int]:
        """Return each key's cancellations that this process has counted since the last call."""
        changes, self._changes = self._changes, {}
        return changes

    def add(self, key_id: int, cancelled: int) -> None:
        """Add cancellations of a key, whichever process counted them."""
        now = time.monotonic()
        ends_at, count = self._windows.pop(key_id, (0.0, 0))
        if ends_at <= now:
            ends_at, count = now + self._window_seconds, 0
        self._windows[key_id] = (ends_at, count + cancelled)
        if count + cancelled >= self._limit and key_id not in self.over:
            self.over.add(key_id)
            loop = asyncio.get_running_loop()
            loop.call_later(ends_at - now, self.over.discard, key_id)
        if len(self._windows) > self.MAX_KEYS:
            # The key whose last cancellation is the oldest.
            del self._windows[next(iter(self._windows))]
