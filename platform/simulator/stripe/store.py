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
API_VERSION = "2026-10-29.dahlia"
LONGEST_PAGE = 100


class Store:
    """Objects, kept in a file too where one is named, so that a restart forgets nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._things: dict[str, Thing] = {}
        if file is not None and file.exists():
            with contextlib.suppress(ValueError):
                self._things = json.loads(file.read_text())

    def create(self, kind: str, prefix: str, **fields: Any) -> Thing:
        """Adds an object with an id of its own, and returns it."""
        number = f"{prefix}_{secrets.token_hex(12)}"
        thing = {"id": number, "object": kind, "created": int(time.time()), "livemode": False}
        thing |= fields
        thing.setdefault("metadata", {})
        self._things[number] = thing
        self.keep()
        return thing

    def get(self, kind: str, number: str) -> Thing:
        """Returns an object. Raises StripeError where there is none of that kind and id."""
        thing = self._things.get(number)
        if thing is None or thing["object"] != kind:
            raise missing(kind, number)
        return thing

    def find(self, kind: str, matches: Callable[[Thing], bool] = lambda _: True) -> list[Thing]:
        """Returns the objects of a kind, the newest first."""
        return [
            thing for thing in self._newest_first() if thing["object"] == kind and matches(thing)
        ]

    def page(self, kind: str, query: dict[str, Any], *filters: str, url: str) -> Thing:
        """Returns a list as Stripe pages it: `limit`, `starting_after`, `created[gte]` and the
        fields that are named to filter by.
        """
        created = query.get("created") or {}
        found = self.find(
            kind,
            lambda thing: (
                all(str(thing.get(name)) == str(query[name]) for name in filters if name in query)
                and thing["created"] >= int(created.get("gte", 0))
                and thing["created"] < int(created.get("lt", 2**40))
            ),
        )
        if after := query.get("starting_after"):
            places = [index for index, thing in enumerate(found) if thing["id"] == after]
            if not places:
                raise missing(kind, str(after))
            found = found[places[0] + 1 :]
        limit = min(int(query.get("limit", 10)), LONGEST_PAGE)
        return {
            "object": "list",
            "url": url,
            "has_more": len(found) > limit,
            "data": found[:limit],
        }

    def keep(self) -> None:
        """Writes everything to the file, whole or not at all."""
        if self._file is None:
            return
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._things))
        part.replace(self._file)

    def forget(self) -> None:
        """Empties the store."""
        self._things.clear()
        self.keep()

    def _newest_first(self) -> Iterator[Thing]:
        return reversed(list(self._things.values()))
