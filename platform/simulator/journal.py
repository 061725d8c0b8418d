"""The journal: one entry per call, in memory; when full, the oldest is dropped.

The journal is an oracle for tests of whatever stands in front: how much was really generated,
what was asked, and when the end of the connection was noticed. It never holds a secret (only
whether a bearer token came) and never a prompt.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import msgspec

from simulator.script import split_model

MAX_ENTRIES = 100_000
MAX_COUNTERS = 10_000
MAX_PARAM_BYTES = 4096

# Prompts and pictures, whatever the endpoint calls them.
_CONTENTS = {
    *("messages", "prompt", "input", "suffix", "image", "image_url", "simulate"),
    *("system", "instructions", "query", "documents"),
}


class Entry(msgspec.Struct):
    """One call. Times are unix seconds; `closed_at` and `end` are null while it is open.

    `request_id` is the caller's header, `answer_id` the id in the answer's.
    """

    request_id: str
    method: str
    path: str
    authorized: bool
    header_names: list[str]
    model: str = ""
    stream: bool = False
    script: str = ""
    params: dict[str, Any] = {}
    prompt_tokens: int = 0
    tokens_sent: int = 0
    units_sent: int = 0
    status: int | None = None
    started_at: float = msgspec.field(default_factory=time.time)
    first_at: float | None = None
    closed_at: float | None = None
    end: str | None = None
    answer_id: str = ""

    def mark_first_byte(self) -> None:
        """Note the time of the first byte of the body; later calls change nothing."""
        if self.first_at is None:
            self.first_at = time.time()

    def close(self, end: str) -> None:
        """End the call. The first end stands: what follows is only the connection's."""
        if self.end is None:
            self.end = end
            self.closed_at = time.time()


class Journal:
    """The calls of this process, and how often each failing script has failed."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: deque[Entry] = deque(maxlen=max_entries)
        self._failures: OrderedDict[tuple[str, str], int] = OrderedDict()

    def add(self, entry: Entry) -> None:
        """Keep a call from its start on, so that an open one can be seen."""
        self._entries.append(entry)

    def find(self, *, request_id: str = "", model: str = "", limit: int = 0) -> list[Entry]:
        """Return the matching calls, oldest first; with a limit, the newest of them.

        `model` is the whole name as it was sent, or the name without its script.
        """
        found = [entry for entry in self._entries if _matches(entry, request_id, model)]
        return found[-limit:] if limit else found

    def open_calls(self) -> int:
        """Return how many calls have not ended."""
        return sum(entry.end is None for entry in self._entries)

    def clear(self) -> int:
        """Empty the journal and the counters of `fail_first`; return the entries dropped."""
        dropped = len(self._entries)
        self._entries.clear()
        self._failures.clear()
        return dropped

    def count_failure(self, script: str, key: str) -> int:
        """Return how many calls with this script and key there have been, with this one."""
        calls = self._failures.pop((script, key), 0) + 1
        self._failures[script, key] = calls
        if len(self._failures) > MAX_COUNTERS:
            self._failures.popitem(last=False)
        return calls


def _matches(entry: Entry, request_id: str, model: str) -> bool:
    if request_id and entry.request_id != request_id:
        return False
    return not model or model in {entry.model, split_model(entry.model)[0]}


def public_params(body: dict[str, Any]) -> dict[str, Any]:
    """Return a request's fields without its contents; a large field by its size only."""
    return dict(_public_fields(body))


def _public_fields(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        if name in _CONTENTS:
            continue
        # Most fields are numbers: only what can be large is measured.
        if isinstance(value, str | list | dict):
            size = len(msgspec.json.encode(value))
            value = {"bytes": size} if size > MAX_PARAM_BYTES else value  # noqa: PLW2901
        yield name, value


# One process, one journal: the tests ask it over HTTP, from outside.
journal = Journal()
