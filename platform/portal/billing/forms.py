"""What a customer says to buy credits."""

import re
from typing import Any, Self

from django import forms
from django.conf import settings

from billing.payments.orders import (
    OrderError,
    amount_bounds_cents,
    require_amount,
)
from billing.pricing.money import NANOS_PER_CENT, nanos_from_dollars, typed_cents_text
from portal.templatetags.ui import dollars_of_cents

OWN = "own"
# Dollars as people write them; a comma only between thousands, as elsewhere it parts the cents.
_DOLLARS = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})+|\d{1,9})(?:\.(\d{1,2}))?", re.ASCII)


class TopUpForm(forms.Form):
    """An amount among the operator's presets, or one's own. `amount_cents` is what was chosen."""

    amount = forms.ChoiceField(
        widget=forms.RadioSelect, error_messages={"required": "Choose an amount."}
    )
    own = forms.CharField(label="Amount in US dollars", required=False, max_length=20)

    def __init__(self, data: Any = None, initial: dict[str, str] | None = None) -> None:
        presets = preset_cents()
        chosen = {"amount": str(presets[len(presets) // 2 - 1] if presets else OWN)}
        super().__init__(data, initial=initial or chosen)
        # Django's forms are made of such assignments; its stubs know the general field alone.
        self.fields["amount"].choices = [  # type: ignore[attr-defined]
            *((str(cents), _label(cents)) for cents in presets),
            (OWN, "Other amount"),
        ]
        least, most = map(_label, amount_bounds_cents())
        self.fields["own"].help_text = f"From {least} to {most}."
        self.fields["own"].widget.attrs.update(inputmode="decimal", autocomplete="off")

    @classmethod
    def of_amount(cls, text: str) -> Self:
        """Returns a form in which an amount of dollars is chosen, where it is one."""
        cents = cents_of(text)
        if cents is None:
            return cls()
        if cents in preset_cents():
            return cls(initial={"amount": str(cents)})
        return cls(initial={"amount": OWN, "own": typed_cents_text(cents)})

    def clean(self) -> dict[str, Any]:
        """Makes `amount_cents`; an own amount's error stands beside it."""
        cleaned: dict[str, Any] = super().clean() or {}
        amount = cleaned.get("amount")
        if amount is None:
            return cleaned
        cents = cents_of(cleaned.get("own", "")) if amount == OWN else int(amount)
        if cents is None:
            self.add_error("own", "Write dollars and cents, such as 25 or 12.50.")
            return cleaned
        try:
            require_amount(cents)
        except OrderError as error:
            self.add_error("own" if amount == OWN else "amount", str(error))
        cleaned["amount_cents"] = cents
        return cleaned


def preset_cents() -> list[int]:
    """Returns the amounts to choose from, as far as they are within what is sold."""
    least, most = amount_bounds_cents()
    presets = [
        nanos_from_dollars(dollars) // NANOS_PER_CENT for dollars in settings.TOP_UP_PRESETS_DOLLARS
    ]
    return [cents for cents in presets if least <= cents <= most]


def cents_of(text: str) -> int | None:
    """Returns an amount that was typed in dollars; None: it is none."""
    found = _DOLLARS.fullmatch(text.strip())
    if found is None:
        return None
    whole, fraction = found.groups("")
    return int(whole.replace(",", "")) * 100 + int(fraction.ljust(2, "0"))


def _label(cents: int) -> str:
    return dollars_of_cents(cents).removesuffix(".00")
