"""The files that a run keeps in LOCAL_DIR for itself and for every command of the project."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.errors import LocalError

REPO = Path(__file__).resolve().parents[2]
WEBHOOK_SECRET = "STRIPE_WEBHOOK_SECRET"  # noqa: S105 (a name)


def local_dir() -> Path:
    """Return the folder of the environment's LOCAL_DIR, by default .local in the repository."""
    return Path(os.environ.get("LOCAL_DIR") or REPO / ".local").resolve()


def read(path: Path) -> dict[str, Any]:
    """Return a file's JSON object, empty where there is no file. Raise LocalError for others."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise LocalError(f"{path} is damaged ({error}): repair or remove it") from error
    if not isinstance(value, dict):
        raise LocalError(f"{path} holds no JSON object: repair or remove it")
    return value


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object for our user's eyes only; readers see the old or the new file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def new_secrets() -> dict[str, str]:
    """Return fresh values of the variables that must be secret."""
    return {
        "SECRET_KEY": secrets.token_urlsafe(48),
        "API_KEY_PEPPERS": f"1:{secrets.token_hex(32)}",
        "ENCRYPTION_KEYS": f"1:{secrets.token_hex(32)}",
    }


def kept_secrets(path: Path) -> dict[str, str]:
    """Return the secrets of the file, made and written the first time.

    A variable of the environment replaces its secret, but is not kept. Raise LocalError where
    the file is damaged: fresh secrets would make every API key invalid.
    """
    kept = read(path)
    complete = new_secrets() | {WEBHOOK_SECRET: f"whsec_{secrets.token_urlsafe(32)}"} | kept
    if complete != kept:
        write(path, complete)
    return {name: os.environ.get(name) or str(value) for name, value in complete.items()}
