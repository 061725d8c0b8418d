"""Typed readers of environment variables, with the values of a running `make run` as defaults.

`make run` writes `<LOCAL_DIR>/services.json` (readable by its owner only): the addresses of the
PostgreSQL and Valkey that it started, and the secrets that it generated. Commands read it for
variables that are not set, so that `manage.py balance TEAM` finds the running database.
"""

import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
LOCAL_DIR = Path(os.environ.get("LOCAL_DIR", BASE_DIR / ".local"))


def _services() -> dict[str, str]:
    """Return the values that `make run` wrote, or none where it never ran."""
    try:
        services = json.loads((LOCAL_DIR / "services.json").read_text())
    except FileNotFoundError:
        return {}
    return {str(name): str(value) for name, value in services.items()}


_SERVICES = _services()


def text(name: str, default: str = "") -> str:
    """Return the variable's value; an empty one counts as unset."""
    return os.environ.get(name) or _SERVICES.get(name) or default


def flag(name: str, default: bool = False) -> bool:
    """Return a boolean variable.

    Raise ValueError for any other text, so that a typo isn't read as false.
    """
    value = text(name).lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    if value:
        raise ValueError(f"{name}={value!r} must be 1 or 0")
    return default


def number(name: str, default: float) -> float:
    """Return a numeric variable. Raise ValueError if it isn't a number."""
    value = text(name)
    return float(value) if value else default


def integer(name: str, default: int) -> int:
    """Return an integer variable. Raise ValueError if it isn't an integer."""
    value = text(name)
    return int(value) if value else default


def choice(name: str, choices: tuple[str, ...]) -> str:
    """Return one of the choices, the first by default. Raise ValueError for anything else."""
    value = text(name, choices[0])
    if value not in choices:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(choices)}")
    return value


def words(name: str, default: str = "") -> list[str]:
    """Return the items of a comma-separated variable, without empty ones."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def versioned_keys(name: str) -> dict[int, bytes]:
    """Return the keys of `1:<hex>,2:<hex>` by version. Raise ValueError for any other format."""
    items = (item.partition(":") for item in words(name))
    return {int(version): bytes.fromhex(key) for version, _, key in items}


def lines(name: str) -> list[str]:
    """Return the lines of the file at a variable's path, without empty ones and `#` comments.

    Raise OSError if the file can't be read.
    """
    path = text(name)
    found = Path(path).read_text().splitlines() if path else []
    return [line.strip() for line in found if line.strip() and not line.lstrip().startswith("#")]
