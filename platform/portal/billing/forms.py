"""The forms of the billing page: buying credits, plans, auto top-up, promotional codes."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from django import forms
from django.conf import settings
from django.core import signing
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.formats import dollars_text
from accounts.models import Team
from billing.models import AutoTopUp, PlanOffer
from billing.payments.auto_top_up import AutoTopUpSettings
from billing.payments.orders import (
    OrderError,
    amount_bounds_cents,
    require_amount,
)
from billing.payments.promotions import CODE_MAX_LENGTH
from billing.pricing.money import NANOS_PER_CENT, cents_text, nanos_from_dollars, typed_cents_text
from portal.ui.fields import CentsField
from portal.ui.money import cents_of

OWN = "own"


class TopUpForm(forms.Form):
    """An amount among the operator's presets, or another one.

    Of a valid form `cleaned_data` has `amount_cents`, and the `order_id` of the order it creates.
    """

    amount = forms.ChoiceField(
        widget=forms.RadioSelect, error_messages={"required": _("Choose an amount.")}
    )
    own = forms.CharField(label=_("Amount in US dollars"), required=False, max_length=20)

    def __init__(self, data: Any = None, initial: dict[str, str] | None = None) -> None:
        presets = preset_cents()
        chosen = {"amount": str(presets[len(presets) // 2 - 1] if presets else OWN)}
        super().__init__(data, initial=initial or chosen)
        # Django's forms are made of such assignments; its stubs know the general field alone.
        self.fields["amount"].choices = [  # type: ignore[attr-defined]
            *((str(cents), _label(cents)) for cents in presets),
            (OWN, _("Other amount")),
        ]
        least, most = map(_label, amount_bounds_cents())
        self.fields["own"].help_text = gettext("From {least} to {most}.").format(
            least=least, most=most
        )
        self.fields["own"].widget.attrs.update(inputmode="decimal", autocomplete="off")

    @classmethod
    def of_amount(cls, text: str) -> Self:
        """Return a form in which an amount of dollars is chosen, where it is one."""
        cents = cents_of(text)
        if cents is None:
            return cls()
        if cents in preset_cents():
            return cls(initial={"amount": str(cents)})
        return cls(initial={"amount": OWN, "own": typed_cents_text(cents)})

    def clean(self) -> dict[str, Any]:
        """Add `amount_cents` and `order_id`; an own amount's error stands beside it."""
        cleaned: dict[str, Any] = super().clean() or {}
        try:
            cleaned["order_id"] = UUID(self.data.get("order", ""))
        except ValueError:
            self.add_error(None, gettext("The form was incomplete. Submit it again."))
        amount = cleaned.get("amount")
        if amount is None:
            return cleaned
        cents = cents_of(cleaned.get("own", "")) if amount == OWN else int(amount)
        if cents is None:
            self.add_error("own", gettext("Enter an amount in dollars, such as 25 or 12.50."))
            return cleaned
        try:
            require_amount(cents)
        except OrderError as error:
            self.add_error("own" if amount == OWN else "amount", str(error))
        cleaned["amount_cents"] = cents
        return cleaned


def preset_cents() -> list[int]:
    """Return the amounts to choose from, as far as they are within what is sold."""
    least, most = amount_bounds_cents()
    presets = [
        nanos_from_dollars(dollars) // NANOS_PER_CENT for dollars in settings.TOP_UP_PRESETS_DOLLARS
    ]
    return [cents for cents in presets if least <= cents <= most]


def _label(cents: int) -> str:
    return dollars_text(cents_text(cents).removesuffix(".00"))


USUAL_THRESHOLD_CENTS = 500
USUAL_AMOUNT_CENTS = 2500
USUAL_TOP_UPS_A_MONTH = 4

# The form's field for each setting.
_FIELDS = {
    "is_enabled": "is_enabled",
    "threshold_nanos": "threshold",
    "amount_cents": "amount",
    "monthly_limit_cents": "monthly_limit",
}


class AutoTopUpForm(forms.Form):
    """The settings of auto top-up."""

    is_enabled = forms.BooleanField(
        label=_("Buy credits when my balance is low"),
        required=False,
        help_text=_("Charges your saved card automatically."),
    )
    threshold = CentsField(label=_("When balance falls below"))
    amount = CentsField(label=_("Buy"))
    monthly_limit = CentsField(label=_("Monthly limit"))

    def __init__(self, data: Any = None, initial: dict[str, Any] | None = None) -> None:
        # The page has another form with an amount.
        super().__init__(data, initial=initial, auto_id="auto_%s")

    @classmethod
    def of(cls, row: AutoTopUp | None) -> "AutoTopUpForm":
        """Return the form as it was saved, or with what most will want."""
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
    def settings(self) -> AutoTopUpSettings:
        """The settings in a valid form."""
        data = self.cleaned_data
        return AutoTopUpSettings(
            is_enabled=data["is_enabled"],
            threshold_nanos=data["threshold"] * NANOS_PER_CENT,
            amount_cents=data["amount"],
            monthly_limit_cents=data["monthly_limit"],
        )

    def show(self, problems: dict[str, str]) -> None:
        """Put each problem beside its field."""
        for field, problem in problems.items():
            self.add_error(_FIELDS[field], problem)


# How long a quoted price stays valid.
QUOTE_SECONDS = 1800
_QUOTE_SALT = "portal.billing.plan"


@dataclass(frozen=True)
class QuotedTerms:
    """The terms of a change of plan that its page has quoted: `plans.change` takes both."""

    at: datetime
    attempt: str


def sign_quote(team: Team, offer: PlanOffer, at: datetime) -> str:
    """Return the terms of a quote made at `at`, signed, for the page's form to carry."""
    terms = {
        "team": team.pk,
        "plan": offer.plan_id,
        "price": offer.price_cents,
        "at": int(at.timestamp()),
        "attempt": str(uuid.uuid4()),
    }
    return signing.dumps(terms, salt=_QUOTE_SALT)


def read_quote(text: str, team: Team, offer: PlanOffer) -> QuotedTerms | None:
    """Return the terms the page quoted; None if expired, for another price, or forged."""
    try:
        terms = signing.loads(text, salt=_QUOTE_SALT, max_age=QUOTE_SECONDS)
    except signing.BadSignature:
        return None
    if (terms["team"], terms["plan"], terms["price"]) != (
        team.pk,
        offer.plan_id,
        offer.price_cents,
    ):
        return None
    return QuotedTerms(at=datetime.fromtimestamp(terms["at"], UTC), attempt=terms["attempt"])


class CodeForm(forms.Form):
    """A promotional code."""

    code = forms.CharField(
        label=_("Code"),
        max_length=2 * CODE_MAX_LENGTH,  # room for spaces
        error_messages={"required": _("Enter your code.")},
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}
        ),
    )
