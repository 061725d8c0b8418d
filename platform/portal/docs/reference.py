"""The documentation's tables, read from the code that they describe."""

import inspect
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from api import errors
from api.gateway import upstream_errors
from api.operations.base import Operation
from api.surfaces import SURFACES, Surface

_RETRIED = {429, 500, 502, 503, 504}
_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Parameter:
    """A field of a request."""

    name: str
    type: str
    is_required: bool
    note: str


@dataclass(frozen=True)
class ErrorRow:
    """An error as clients see it. `text` is what its message says, or what it means."""

    status: int
    type: str
    code: str
    text: str
    is_retried: bool


def parameters(operation: Operation | None) -> list[Parameter]:
    """Return the fields of an operation's request, or its query, the required ones first."""
    struct = (operation.body or operation.query) if operation is not None else None
    if operation is None or struct is None:
        return []
    schema = msgspec.json.schema(struct)["$defs"][struct.__name__]
    required = set(schema.get("required", ()))
    rows = [
        Parameter(
            name,
            _type(field),
            name in required,
            operation.notes.get(name) or field["description"],
        )
        for name, field in schema["properties"].items()
    ]
    return sorted(rows, key=lambda row: not row.is_required)


def error_rows() -> list[ErrorRow]:
    """Return every status, type and code that the API answers with, by status."""
    # The relay's own are subclasses, too, known once their module is.
    told: list[type[errors.ApiError]] = [*_tree(errors.ApiError), upstream_errors.ShuttingDownError]
    by_identity: dict[tuple[int, str, str], list[type[errors.ApiError]]] = defaultdict(list)
    for error in told:
        by_identity[error.status, error.type, error.code].append(error)
    rows = [
        ErrorRow(*identity, _text(found), identity[0] in _RETRIED)
        for identity, found in by_identity.items()
    ]
    return sorted(rows, key=lambda row: row.status)


def surfaces() -> list[Surface]:
    """Return the mounts of the API."""
    return list(SURFACES)


def _tree(error: type[errors.ApiError]) -> Iterator[type[errors.ApiError]]:
    """Yield the error's subclasses, parents first."""
    for child in error.__subclasses__():
        if child.__module__.startswith("api."):
            yield child
            yield from _tree(child)


def _text(found: list[type[errors.ApiError]]) -> str:
    """Return the message of the last of the errors that has one of its own.

    Where each case has another message, it is what the error means.
    """
    for error in reversed(found):
        if "default_message" in vars(error):
            return error.default_message
        if "template" in vars(error):
            return error.template.format("…", "…")
    return " ".join((inspect.getdoc(found[0]) or "").split("\n\n")[0].split())


def _type(field: dict[str, Any]) -> str:
    """Return a field's type and bounds in words."""
    if "anyOf" in field:
        kinds = [_type(option) for option in field["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in field:
        return "object"
    if "enum" in field:
        return " or ".join(f"“{value}”" for value in field["enum"] if value is not None)
    return f"{field.get('type', 'any')}{_bounds(field)}"


def _bounds(field: dict[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    if "exclusiveMinimum" in field:
        return f", above {field['exclusiveMinimum']}, at most {most}"
    if most == _INT64:
        return ""
    if least is not None and most is not None:
        return f", {least} to {most}"
    if least is not None:
        return f", at least {least}"
    if field.get("type") == "array" and "maxItems" in field:
        return f", at most {field['maxItems']}"
    return ""
