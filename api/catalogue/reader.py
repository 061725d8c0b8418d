"""The reader that fills the structs of a catalogue file and reports all problems in it.

Why `TableReader` wraps msgspec: `msgspec.convert` and similar validators (pydantic, attrs) return
either a whole document or errors. A file of 60 models can only be fixed in one go if all problems
are reported at once, so the valid parts must still be checked against each other
(`api/catalogue/check.py`). Besides, msgspec stops at the first error, and gives places by index.
"""

import difflib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

from api.catalogue.file import INVALID, Dollars, RatesTable, read_figure
from billing.pricing.components import extra_components

T = TypeVar("T", bound=msgspec.Struct)


class CatalogueError(ValueError):
    """A catalogue that can't be loaded; `problems` has a line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Problems:
    """The problems of one file, each once, in the order found."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[str, None] = {}

    def add(self, place: str, text: str) -> None:
        """Add a problem at a place, such as `models[3] "glm-5.2": prices.input`."""
        self._lines[f"{self._file}: {place}: {text}"] = None

    def raise_if_any(self) -> None:
        """Raise CatalogueError if there are any problems."""
        if self._lines:
            raise CatalogueError(list(self._lines))


def quoted(value: object) -> str:
    """Return a value as problems quote it: shortened, strings in double quotes."""
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class TableReader:
    """A reader of the tables of one file, which adds problems to `problems`.

    In the returned struct, a missing or invalid field is INVALID (which is falsy) whatever its
    type, and so is an invalid item of a list. So rules that involve several fields can still be
    checked, and list items keep their indexes.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def table(
        self,
        kind: type[T],
        raw: object,
        place: str,
        *,
        joint: str = ".",
        shared: tuple[str, Mapping[str, object]] = ("", {}),
    ) -> T | None:
        """Return the struct of a table, or None if it isn't a table.

        `joint` stands between the place and its keys. `shared` is the place and the content of a
        table that gives the keys which `raw` doesn't.
        """
        if not isinstance(raw, dict):
            self._problems.add(place, f"{quoted(raw)} is not a table")
            return None
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        if issubclass(kind, RatesTable):
            del fields["extra"]
            extra = [each.name for each in extra_components() if each.name in raw]
            values["extra"] = {
                name: self._value(Dollars, raw[name], f"{place}{joint}{name}") for name in extra
            }
            raw = {key: value for key, value in raw.items() if key not in extra}
        for key in [key for key in raw if key not in fields]:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._problems.add(f"{place}{joint}{key}", f"is not a key of this table{hint}")
        for name, field in fields.items():
            if name in raw:
                values[name] = self._value(field.type, raw[name], f"{place}{joint}{name}")
            elif name in shared[1]:
                values[name] = self._value(field.type, shared[1][name], f"{shared[0]}.{name}")
            elif field.required:
                self._problems.add(f"{place}{joint}{name}", "is missing")
                values[name] = INVALID
        return kind(**values)

    def _value(self, kind: Any, raw: object, place: str) -> Any:
        """Return the value of a field, or INVALID."""
        if get_origin(kind) in {Union, types.UnionType}:  # TOML has no null, so it is the other
            kind = next(one for one in get_args(kind) if one is not type(None))
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            table = self.table(kind, raw, place)
            return INVALID if table is None else table
        if get_origin(kind) is dict:
            return self._by_name(get_args(kind)[1], raw, place)
        if get_origin(kind) is list:
            return self._list(get_args(kind)[0], raw, place)
        if isinstance(raw, str) and "\0" in raw:  # PostgreSQL holds no such text
            self._problems.add(place, "holds a NUL character")
            return INVALID
        try:
            return msgspec.convert(raw, kind, dec_hook=read_figure)
        except msgspec.ValidationError as error:
            self._problems.add(place, _explained(kind, raw, error))
            return INVALID

    def _list(self, kind: Any, raw: object, place: str) -> Any:
        """Return the list, with its invalid items marked as such, or INVALID if it is none."""
        if not isinstance(raw, list):
            self._problems.add(place, f"{quoted(raw)} is not a list")
            return INVALID
        items: list[Any] = []
        for index, one in enumerate(raw):
            item = self._value(kind, one, f"{place}[{index}]")
            if isinstance(item, str) and item in items:
                self._problems.add(f"{place}[{index}]", f"{quoted(item)} is there twice")
                item = INVALID
            items.append(item)
        return items

    def _by_name(self, kind: Any, raw: object, place: str) -> Any:
        """Return the values by name, invalid ones as INVALID; INVALID if it isn't a table."""
        if not isinstance(raw, dict):
            self._problems.add(place, f"{quoted(raw)} is not a table")
            return INVALID
        return {name: self._value(kind, one, f"{place}.{name}") for name, one in raw.items()}


def _explained(kind: Any, raw: object, error: msgspec.ValidationError) -> str:
    """Return what is wrong with a value, in terms of the file rather than of Python."""
    if isinstance(raw, str) and get_origin(kind) is Literal:
        return f"{quoted(raw)} is none of {', '.join(get_args(kind))}"
    if isinstance(raw, str) and get_origin(kind) is Annotated:
        described = cast(msgspec.Meta, get_args(kind)[1]).description
        if described:
            return f"{quoted(raw)} is not {described}"
    message = str(error)
    return message[0].lower() + message[1:]
