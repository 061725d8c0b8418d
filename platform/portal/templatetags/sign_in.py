"""Filters for the form fields and sessions on the sign-in pages."""

from django import template
from django.forms import BoundField
from django.utils.translation import gettext_lazy as _

from portal.ui import devices

register = template.Library()

_RULES = _("At least 8 characters. Not a common one, and not only digits.")


@register.filter
def tidied(field: BoundField) -> BoundField:
    """Return allauth's field as our pages show fields.

    Without a placeholder that repeats its label; with a sentence for the list of password rules.
    """
    attributes = field.field.widget.attrs
    attributes.pop("placeholder", None)
    if attributes.get("autocomplete") == "new-password":
        field.help_text = _RULES if field.name == "password1" else ""
    if attributes.get("autocomplete") == "one-time-code" or field.name == "code":
        attributes |= {"autocomplete": "one-time-code", "inputmode": "numeric", "class": "code-box"}
    return field


@register.filter
def device_name(user_agent: str) -> str:
    """Return what people call the browser of a User-Agent header."""
    return devices.device_name(user_agent)
