"""The texts that no marks are on: the code has them for its own ends, and pages translate them."""

import os

import django
from django.apps import apps


def reference_texts() -> dict[str, set[str]]:
    """Return the texts of operations and of errors by the place they are in."""
    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
    from portal.docs.reference import error_texts  # noqa: PLC0415  (after the set-up)
    from portal.ui.operation_texts import operation_texts  # noqa: PLC0415  (after the set-up)

    return {
        "api/operations": operation_texts(),
        "api/errors.py": error_texts(),
    }
