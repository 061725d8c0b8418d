"""The texts that no marks are on: the code has them for its own ends, and pages translate them."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
from django.apps import apps

CATALOGUES = Path(__file__).resolve().parents[2] / "api" / "catalogues"


def reference_texts() -> dict[str, set[str]]:
    """Return the texts of operations and of errors by the place they are in."""
    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
    from portal.docs.reference import error_texts  # noqa: PLC0415  (after the set-up)
    from portal.ui.operation_texts import operation_texts  # noqa: PLC0415  (after the set-up)

    return _catalogue_texts() | {
        "api/operations": operation_texts(),
        "api/errors.py": error_texts(),
    }


def _catalogue_texts() -> dict[str, set[str]]:
    """Return what the shipped catalogues say of services, plans and models."""
    return {
        f"api/catalogues/{path.name}": set(_described(tomllib.loads(path.read_text())))
        for path in sorted(CATALOGUES.glob("*.toml"))
    }


def _described(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _described(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            if name in {"tagline", "summary", "description"} and isinstance(each, str) and each:
                yield each
            else:
                yield from _described(each)
