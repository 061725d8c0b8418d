"""Stripe's request bodies: forms whose names spell nested objects and lists."""

import re
from typing import Any
from urllib.parse import parse_qsl

_PART = re.compile(r"[^\[\]]+|\[\]")


def decode(body: str) -> dict[str, Any]:
    """Return the object that a form spells: `a[b][0][c]=1` is `{"a": {"b": [{"c": "1"}]}}`.

    All values are texts, as they came; `a[]=1&a[]=2` is a list.
    """
    root: dict[str, Any] = {}
    for name, value in parse_qsl(body, keep_blank_values=True):
        _put(root, _PART.findall(name), value)
    return _with_lists(root)


def whole(value: object, default: int = 0) -> int:
    """Return a form's whole number, such as an amount in cents."""
    return int(str(value)) if value not in (None, "") else default


def is_true(value: object) -> bool:
    """Return whether a form's value means yes."""
    return str(value).lower() == "true"


def _put(target: dict[str, Any], parts: list[str], value: str) -> None:
    *way, last = parts
    for part in way:
        key = str(len(target)) if part == "[]" else part
        target = target.setdefault(key, {})
    target[str(len(target)) if last == "[]" else last] = value


def _with_lists(value: Any) -> Any:
    """Return the value with every object of the keys 0, 1, 2, ... as a list."""
    if not isinstance(value, dict):
        return value
    inner = {key: _with_lists(each) for key, each in value.items()}
    if inner and all(key == str(index) for index, key in enumerate(inner)):
        return list(inner.values())
    return inner
