"""The form of a webhook endpoint."""

from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from accounts.models import WebhookEndpoint
from accounts.webhooks.events import SUBSCRIBABLE
from api.webhooks.client import LONGEST_URL
from billing.pricing.money import budget_nanos, dollars_short_text

_DEFAULT_NANOS = WebhookEndpoint._meta.get_field("low_balance_nanos").default


class EndpointForm(forms.Form):
    """An endpoint's URL and events. `values` has them as `api.webhooks.endpoints` takes them."""

    url = forms.CharField(
        label="URL",
        max_length=LONGEST_URL,
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/webhooks"}),
    )
    events = forms.MultipleChoiceField(
        label=_("Events"),
        required=False,
        choices=[(each.value, format_html("<code>{}</code>", each.value)) for each in SUBSCRIBABLE],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Leave empty for all events, including future ones."),
    )
    low_balance = forms.CharField(
        label=_("Low balance ($)"),
        help_text=_("balance.low is sent when the balance falls below it."),
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )

    def __init__(self, data: Any, endpoint: WebhookEndpoint | None = None) -> None:
        threshold = endpoint.low_balance_nanos if endpoint else _DEFAULT_NANOS
        initial: dict[str, Any] = {"low_balance": dollars_short_text(threshold)}
        if endpoint is not None:
            initial |= {"url": endpoint.url, "events": endpoint.events}
        super().__init__(data, initial=initial)

    def clean_low_balance(self) -> int:
        """Return the threshold in nano-dollars. Raise ValidationError."""
        try:
            return budget_nanos(self.cleaned_data["low_balance"])
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None

    @property
    def values(self) -> dict[str, Any]:
        """The arguments for an endpoint of what was entered."""
        cleaned = self.cleaned_data
        return {
            "url": cleaned["url"],
            "events": cleaned["events"],
            "low_balance_nanos": cleaned["low_balance"],
        }
