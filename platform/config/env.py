"""Typed readers of the environment, and of what a running `make run` left for its commands.

`make run` writes `<LOCAL_DIR>/services.json` (readable by its owner only): the addresses of the
PostgreSQL and Valkey it started and the secrets it made. Every command reads it where the
environment says nothing, so `manage.py balance TEAM` finds the running database by itself.
"""

import json
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parents[2]
LOCAL_DIR = Path(os.environ.get("LOCAL_DIR", BASE_DIR / ".local"))


def _services() -> dict[str, str]:
    """Return what the embedded default wrote, or nothing where it never ran."""
    try:
        services = json.loads((LOCAL_DIR / "services.json").read_text())
    except FileNotFoundError:
        return {}
    return {str(name): str(value) for name, value in services.items()}


_SERVICES = _services()


def text(name: str, default: str = "") -> str:
    """Return the variable's text; an empty variable counts as absent."""
    return os.environ.get(name) or _SERVICES.get(name) or default


def flag(name: str, default: bool = False) -> bool:
    """Return a yes/no variable.

    Raise ValueError for a text that is neither, so that a typing mistake is no silent "no".
    """
    value = text(name).lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    if value:
        raise ValueError(f"{name}={value!r}: say 1 or 0")
    return default


def number(name: str, default: float) -> float:
    """Return a variable that is a number. Raise ValueError where it is none."""
    value = text(name)
    return float(value) if value else default


def whole(name: str, default: int) -> int:
    """Return a variable that is a whole number. Raise ValueError where it is none."""
    value = text(name)
    return int(value) if value else default


def words(name: str, default: str = "") -> list[str]:
    """Return a comma-separated variable as a list without empty items."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def lines(name: str) -> list[str]:
    """Return the lines of the file that a variable names, without empty ones and `#` comments.

    Raise OSError where the file can't be read.
    """
    path = text(name)
    found = Path(path).read_text().splitlines() if path else []
    return [line.strip() for line in found if line.strip() and not line.lstrip().startswith("#")]
