"""The documentation's tables, read from the code that they describe."""

import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import msgspec
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext as _

from accounts.formats import number_text
from api import errors
from api.gateway import idempotency
from api.operations.base import Operation
from api.surfaces import SURFACES, Surface

_RETRIED = {429, 500, 502, 503, 504}
_INT64 = 2**63 - 1


def _types() -> dict[str, str]:
    """Return what JSON's types are called."""
    return {
        "any": pgettext("type", "any"),
        "array": _("array"),
        "boolean": _("boolean"),
        "integer": _("integer"),
        "number": _("number"),
        "object": _("object"),
        "string": _("string"),
    }


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
            gettext(operation.notes.get(name) or field["description"]),
        )
        for name, field in schema["properties"].items()
    ]
    return sorted(rows, key=lambda row: not row.is_required)


def error_rows() -> list[ErrorRow]:
    """Return every status, type and code that the API answers with, by status."""
    rows = [
        ErrorRow(*identity, _text(found), is_retried(identity[0], identity[2]))
        for identity, found in _by_identity().items()
    ]
    return sorted(rows, key=lambda row: row.status)


def error_texts() -> set[str]:
    """Return what the rows say of the errors, in English and before it is filled in."""
    return {_english_text(found) for found in _by_identity().values()}


def is_retried(status: int, code: str) -> bool:
    """Return whether a retry of the same request may succeed."""
    return status in _RETRIED or code == idempotency.IdempotencyConflictError.code


def surfaces() -> list[Surface]:
    """Return the mounts of the API."""
    return list(SURFACES)


def _by_identity() -> dict[tuple[int, str, str], list[type[errors.ApiError]]]:
    """Return the errors by status, type and code."""
    found: dict[tuple[int, str, str], list[type[errors.ApiError]]] = defaultdict(list)
    for error in _tree(errors.ApiError):
        # The gateway's own only if they have a code of their own: others are not always imported.
        if error.__module__ == errors.__name__ or "code" in vars(error):
            found[error.status, error.type, error.code].append(error)
    return found


def _tree(error: type[errors.ApiError]) -> Iterator[type[errors.ApiError]]:
    """Yield the error's subclasses, parents first."""
    for child in error.__subclasses__():
        if child.__module__.startswith("api."):
            yield child
            yield from _tree(child)


def _text(found: list[type[errors.ApiError]]) -> str:
    """Return what errors mean in the reader's language, with an ellipsis for each name."""
    return gettext(_english_text(found)).replace("{}", "…")


def _english_text(found: list[type[errors.ApiError]]) -> str:
    """Return the message or its template of the last of the errors that has one of its own.

    Where each case has another message, it is what the error means.
    """
    for error in reversed(found):
        if "default_message" in vars(error):
            return error.default_message
        if "template" in vars(error):
            return error.template
    return " ".join((inspect.getdoc(found[0]) or "").split("\n\n")[0].split())


def _type(field: dict[str, Any]) -> str:
    """Return a field's type and bounds in words."""
    if "anyOf" in field:
        kinds = [_type(option) for option in field["anyOf"] if option.get("type") != "null"]
        return _either(kinds)
    if "$ref" in field:
        return _types()["object"]
    if "enum" in field:
        quoted = _("“{value}”")
        return _either(quoted.format(value=each) for each in field["enum"] if each is not None)
    name = _types()[field.get("type", "any")]
    least = field.get("exclusiveMinimum", field.get("minimum"))
    given = {"least": least, "most": field.get("maximum", field.get("maxItems"))}
    numbers = {bound: number_text(str(value)) for bound, value in given.items()}
    return _bounded(field).format(type=name, **numbers)


def _either(options: Iterable[str]) -> str:
    """Return the options as alternatives, each once."""
    either = _("{first} or {second}")
    return reduce(
        lambda first, second: either.format(first=first, second=second), dict.fromkeys(options)
    )


def _bounded(field: dict[str, Any]) -> str:
    """Return the template for a type and its bounds."""
    least, most = field.get("minimum"), field.get("maximum")
    if "exclusiveMinimum" in field:
        return _("{type}, above {least}, at most {most}")
    if most == _INT64:
        return "{type}"
    if least is not None and most is not None:
        return _("{type}, {least} to {most}")
    if least is not None:
        return _("{type}, at least {least}")
    if field.get("type") == "array" and "maxItems" in field:
        return _("{type}, at most {most}")
    return "{type}"
