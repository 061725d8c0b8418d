"""What a customer says about auto top-up, and the word of a promotional code."""

from typing import Any

from django import forms

from billing.models import AutoTopUp
from billing.payments.auto_top_up import AutoTopUpSettings
from billing.payments.orders import amount_bounds_cents
from billing.payments.promotions import CODE_MAX_LENGTH
from billing.pricing.money import NANOS_PER_CENT
from portal.billing.forms import cents_of
from portal.templatetags.ui import dollars_of_cents

USUAL_THRESHOLD_CENTS = 500
USUAL_AMOUNT_CENTS = 2500
USUAL_TOP_UPS_A_MONTH = 4

# The form's field for each of the settings.
_FIELDS = {
    "is_enabled": "is_enabled",
    "threshold_nanos": "threshold",
    "amount_cents": "amount",
    "monthly_limit_cents": "monthly_limit",
}


class DollarsField(forms.CharField):
    """An amount that is typed in dollars, and is cents."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=20, **options)
        self.widget.attrs.update(inputmode="decimal", autocomplete="off")

    def prepare_value(self, value: Any) -> Any:
        """Returns what the field shows: cents as dollars, a typed text as it is."""
        if not isinstance(value, int):
            return value
        return dollars_of_cents(value).removesuffix(".00")

    def clean(self, value: Any) -> int:
        """Returns cents. Raises ValidationError."""
        cents = cents_of(super().clean(value))
        if cents is None:
            raise forms.ValidationError("Write dollars and cents, such as 25 or 12.50.")
        return cents


class AutoTopUpForm(forms.Form):
    """The settings of auto top-up."""

    is_enabled = forms.BooleanField(
        label="Buy credits when the balance is low",
        required=False,
        help_text="With the card that is kept, without asking you each time.",
    )
    threshold = DollarsField(label="Below a balance of")
    amount = DollarsField(label="Buy")
    monthly_limit = DollarsField(label="At most a month")

    def __init__(self, data: Any = None, initial: dict[str, Any] | None = None) -> None:
        # The page has another form with an amount.
        super().__init__(data, initial=initial, auto_id="auto_%s")

    @classmethod
    def of(cls, row: AutoTopUp | None) -> "AutoTopUpForm":
        """Returns the form as it was saved, or with what most will want."""
        if row is not None:
            return cls(
                initial={
                    "is_enabled": row.is_enabled,
                    "threshold": row.threshold_nanos // NANOS_PER_CENT,
                    "amount": row.amount_cents,
                    "monthly_limit": row.monthly_limit_cents,
                }
            )
        least, most = amount_bounds_cents()
        amount = min(max(USUAL_AMOUNT_CENTS, least), most)
        return cls(
            initial={
                "threshold": min(USUAL_THRESHOLD_CENTS, most),
                "amount": amount,
                "monthly_limit": amount * USUAL_TOP_UPS_A_MONTH,
            }
        )

    @property
    def submitted_settings(self) -> AutoTopUpSettings:
        """The settings of a valid form."""
        return AutoTopUpSettings(
            is_enabled=self.cleaned_data["is_enabled"],
            threshold_nanos=self.cleaned_data["threshold"] * NANOS_PER_CENT,
            amount_cents=self.cleaned_data["amount"],
            monthly_limit_cents=self.cleaned_data["monthly_limit"],
        )

    def show(self, errors: dict[str, str]) -> None:
        """Add the errors of AutoTopUpSettingsError to their fields."""
        for field, error in errors.items():
            self.add_error(_FIELDS[field], error)


class CodeForm(forms.Form):
    """A promotional code."""

    code = forms.CharField(
        label="Code",
        max_length=2 * CODE_MAX_LENGTH,  # room for spaces
        error_messages={"required": "Type the code that you were given."},
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}
        ),
    )
