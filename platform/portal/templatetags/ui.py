"""Tags and filters of the templates' components: icons, amounts of money, form controls."""

from datetime import datetime

from django import template
from django.forms import BoundField, CheckboxInput
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from accounts.zones import day_text, moment_text
from billing.pricing.money import cents_text
from portal.ui import money

register = template.Library()
for amount_filter in (
    money.dollars,
    money.dollars_exact,
    money.cents,
    money.cents_exactly,
    money.dollars_of_cents,
):
    register.filter(amount_filter)
register.filter(cents_text)  # in English in each language: for what a form or an address takes


@register.filter
def shipped(text: str) -> str:
    """Return an operator's text in the reader's language if a shipped catalogue has it, too."""
    return gettext(text) if text else text


@register.filter
def moment(value: datetime | None) -> str:
    """Return a moment in the reader's zone, which it names; nothing for None."""
    return "" if value is None else moment_text(value)


@register.filter(expects_localtime=True)
def time_tag(value: datetime) -> SafeString:
    """Return a moment in the reader's zone as an element, with what programs read."""
    return format_html('<time datetime="{}">{}</time>', value.isoformat(), moment_text(value))


@register.filter
def day(value: datetime | None) -> str:
    """Return a moment's day in the reader's zone; nothing for None."""
    return "" if value is None else day_text(value)


@register.filter
def strong(name: str) -> SafeString:
    """Return a name that someone chose, in bold, for a sentence of a page."""
    return format_html('<strong dir="auto">{}</strong>', name)


@register.filter
def isolated(name: str) -> SafeString:
    """Return a name that someone chose, so that its direction leaves the sentence as it is."""
    return format_html("<bdi>{}</bdi>", name)


@register.filter
def mailto(address: str) -> SafeString:
    """Return an email address as a link to write to it."""
    return format_html('<a href="mailto:{0}">{0}</a>', address)


_ALERTS = {"success": "good", "warning": "warn", "error": "bad"}
_ALERT_ICONS = {"success": "circle-check", "warning": "triangle-alert", "error": "circle-alert"}


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Return a symbol of `static/icons.svg`; with a label it says something by itself."""
    url = f"{static('icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>', label, url
        )
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', url)


@register.filter
def alert_kind(level: str) -> str:
    """Return the alert's class for a message's level."""
    return _ALERTS.get(level, "")


@register.filter
def alert_icon(level: str) -> str:
    """Return the alert's icon for a message's level."""
    return _ALERT_ICONS.get(level, "info")


@register.filter
def is_checkbox(field: BoundField) -> bool:
    """Return whether the field is one box to tick, which stands before its label."""
    return isinstance(field.field.widget, CheckboxInput)


@register.filter
def control(field: BoundField) -> SafeString:
    """Return the field's control, tied to its help and its error for those who can't see them."""
    described = []
    if field.help_text:
        described.append(f"{field.auto_id}_help")
    attributes: dict[str, str | bool] = {}
    if field.errors:
        described.append(f"{field.auto_id}_error")
        attributes["aria-invalid"] = "true"
    if field.use_fieldset:
        attributes["aria-labelledby"] = f"{field.auto_id}_label"
    if described:
        attributes["aria-describedby"] = " ".join(described)
    return field.as_widget(attrs=attributes)
