"""The texts that no marks are on: the code has them for its own ends, and pages translate them."""

import os

import django
from django.apps import apps

# A text, its plural and its context, as in `extraction.Text`.
Marked = tuple[str, str, str]


def reference_texts() -> dict[str, set[Marked]]:
    """Return the texts of operations, errors and priced components by the place they are in."""
    if not apps.ready:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
    from billing.pricing.components import COMPONENTS  # noqa: PLC0415  (after the set-up)
    from portal.docs.reference import error_texts  # noqa: PLC0415  (after the set-up)
    from portal.ui.operation_texts import operation_texts  # noqa: PLC0415  (after the set-up)

    names = {(each.plural, "", "component") for each in COMPONENTS.values()}
    names |= {(each.singular, each.plural, "component") for each in COMPONENTS.values()}
    return {
        "api/operations": {(text, "", "") for text in operation_texts()},
        "api/errors.py": {(text, "", "") for text in error_texts()},
        "billing/pricing/components.py": names,
    }
