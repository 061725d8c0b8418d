"""Everything that the stand-in remembers: objects by their ids, in the order they were made."""

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from simulator.stripe.errors import missing

Thing = dict[str, Any]
API_VERSION = "2026-10-28.endive"
LONGEST_PAGE = 100
# Objects that do not say whether they are of test mode.
MODELESS = {"refund", "balance_transaction", "subscription_item"}


class Store:
    """Objects, kept in a file too where one is named, so that a restart forgets nothing.

    What the stand-in alone knows of an object is under its key `simulated`. `own_url` is where the
    pages are, as the latest caller sees it.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.own_url = ""
        self._file = file
        self._things: dict[str, Thing] = {}
        if file is not None and file.exists():
            with contextlib.suppress(ValueError):
                self._things = json.loads(file.read_text())

    def make(self, kind: str, prefix: str, **fields: Any) -> Thing:
        """Return an object with an id of its own, which `add` may add."""
        number = f"{prefix}_{secrets.token_hex(12)}"
        thing = {"id": number, "object": kind, "created": int(time.time())}
        if kind not in MODELESS:
            thing["livemode"] = False
        return thing | fields

    def add(self, thing: Thing) -> Thing:
        """Add an object, and return it."""
        self._things[thing["id"]] = thing
        return thing

    def create(self, kind: str, prefix: str, **fields: Any) -> Thing:
        """Make and add an object, and return it."""
        return self.add(self.make(kind, prefix, **fields))

    def get(self, kind: str, number: str) -> Thing:
        """Return an object. Raise StripeError where there is none of that kind and id."""
        thing = self._things.get(number)
        if thing is None or thing["object"] != kind:
            raise missing(kind, number)
        return thing

    def peek(self, number: str) -> Thing | None:
        """Return the object of an id, whatever its kind."""
        return self._things.get(number)

    def find(self, kind: str, **fields: Any) -> list[Thing]:
        """Return the objects of a kind with these fields, the newest first."""
        return [
            thing
            for thing in self._newest_first()
            if thing["object"] == kind
            and all(thing.get(name) == value for name, value in fields.items())
        ]

    def page(
        self, kind: str, query: Thing, matches: Callable[[Thing], bool] = lambda _: True
    ) -> tuple[list[Thing], bool]:
        """Return a page of a list, and whether more come: by `limit`, `starting_after`,
        `ending_before` and `created[gt, gte, lt, lte]`.
        """
        found = [
            thing
            for thing in self.find(kind)
            if matches(thing) and _is_within(thing["created"], query.get("created") or {})
        ]
        limit = min(int(query.get("limit", 10)), LONGEST_PAGE)
        if before := query.get("ending_before"):
            newer = found[: _place(found, kind, before)]
            return newer[-limit:], len(newer) > limit
        if after := query.get("starting_after"):
            found = found[_place(found, kind, after) + 1 :]
        return found[:limit], len(found) > limit

    def flush(self) -> None:
        """Write everything to the file, whole or not at all."""
        if self._file is None:
            return
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._things))
        part.replace(self._file)

    def forget(self) -> None:
        """Empty the store."""
        self._things.clear()

    def _newest_first(self) -> Iterator[Thing]:
        return reversed(list(self._things.values()))


def _place(found: list[Thing], kind: str, number: str) -> int:
    places = [index for index, thing in enumerate(found) if thing["id"] == number]
    if not places:
        raise missing(kind, number)
    return places[0]


def _is_within(created: int, bounds: Thing | str) -> bool:
    """Return whether a time is within bounds: those that a form names, or one very second."""
    if isinstance(bounds, str):
        return created == int(bounds)
    return (
        created >= int(bounds.get("gte", 0))
        and created > int(bounds.get("gt", -1))
        and created < int(bounds.get("lt", 2**40))
        and created <= int(bounds.get("lte", 2**40))
    )
