"""What the templates' components need: icons, amounts of money, form controls."""

from django import template
from django.forms import BoundField, CheckboxInput
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString

from billing.pricing.money import NANOS_PER_CENT, cents_text, dollars_short_text, dollars_text

register = template.Library()

_ALERTS = {"success": "good", "warning": "warn", "error": "bad"}
_ALERT_ICONS = {"success": "circle-check", "warning": "triangle-alert", "error": "circle-alert"}


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Returns a symbol of `static/icons.svg`; with a label it says something by itself."""
    url = f"{static('icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>', label, url
        )
    return format_html('<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', url)


@register.filter
def dollars(amount_nanos: int | None) -> str:
    """Returns the amount as a person reads it: whole cents at least, and all that is finer.

    `$12.50`, `$0.00285`, `-$3.00`; nothing for None.
    """
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole, _, decimals = dollars_short_text(abs(amount_nanos)).partition(".")
    return f"{sign}${int(whole):,}.{decimals:0<2}"


@register.filter
def dollars_exact(amount_nanos: int | None) -> str:
    """Returns the amount with all nine decimals, as the books have it: `$0.002850000`."""
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole, _, decimals = dollars_text(abs(amount_nanos)).partition(".")
    return f"{sign}${int(whole):,}.{decimals}"


@register.filter
def cents(amount_nanos: int | None) -> str:
    """Returns the amount rounded down to cents, for headlines; a smaller one as `<$0.01`."""
    if amount_nanos is None:
        return ""
    sign = "-" if amount_nanos < 0 else ""
    whole_cents = abs(amount_nanos) // NANOS_PER_CENT
    if amount_nanos and not whole_cents:
        return f"{sign}<$0.01"
    return sign + cents_text(whole_cents)


@register.filter
def dollars_of_cents(amount_cents: int | None) -> str:
    """Returns an amount that is counted in cents, as Stripe's are: `$12.50`."""
    return "" if amount_cents is None else cents_text(amount_cents)


@register.filter
def alert_kind(level: str) -> str:
    """Returns the alert's class for a message's level."""
    return _ALERTS.get(level, "")


@register.filter
def alert_icon(level: str) -> str:
    """Returns the alert's icon for a message's level."""
    return _ALERT_ICONS.get(level, "info")


@register.filter
def is_checkbox(field: BoundField) -> bool:
    """Tells whether the field is one box to tick, which stands before its label."""
    return isinstance(field.field.widget, CheckboxInput)


@register.filter
def control(field: BoundField) -> SafeString:
    """Returns the field's control, tied to its help and its error for those who can't see them."""
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
