"""The page that imports an upstream's price list: read, preview, import."""

from typing import Any

import msgspec
from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from api.catalogue.import_models import PlannedModel, PriceRule
from api.catalogue.price_lists import Offer, PriceListError, decode_offers, parse_list
from api.catalogue.price_review import Supplier
from billing.admin.fields import FactorAdminField, NanosAdminField, PublishTimeField
from billing.models import RatesRow
from billing.pricing.charge import ONE
from billing.pricing.margins import rate_text

_PERMISSIONS = (
    *("api.change_upstream", "api.add_model", "api.add_route", "api.add_routecost"),
    "billing.add_priceversion",
)
_SHOWN = ("input", "cached_input", "output")


class ImportForm(forms.Form):
    """A price list, the rule for prices, and when they apply."""

    file = forms.FileField(required=False, widget=UnfoldAdminFileFieldWidget, label="File")
    text = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        label="Or paste it",
        help_text=(
            "The answer of OpenRouter's <code>/api/v1/models</code>, LiteLLM's "
            "<code>model_prices_and_context_window.json</code>, or CSV: <code>model, input, "
            "output, cached_input</code> in dollars per million."
        ),
    )
    only = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        label="Only these models",
        help_text="One pattern per line, such as <code>openai/*</code>. Empty: all.",
    )
    factor = FactorAdminField(
        label="Price = cost \N{MULTIPLICATION SIGN}",
        initial=1_300_000,
        help_text="1.3 gives a margin of 23% of the price.",
    )
    step = NanosAdminField(label="Round up to, $ per million", initial=10_000_000, required=False)
    minimum = NanosAdminField(
        label="Minimum, $ per million",
        initial=0,
        required=False,
        help_text="For input and output. What costs nothing is free if this is 0.",
    )
    reprices = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanWidget,
        label="Set new prices for models that have one",
        help_text="Otherwise only their cost is set.",
    )
    moment = PublishTimeField()
    is_loss = forms.BooleanField(
        required=False, widget=UnfoldBooleanWidget, label="Below cost on purpose"
    )
    offers = forms.CharField(required=False, widget=forms.HiddenInput)

    skipped: list[str]
    """The entries of the list that were left out, with the reasons."""

    def clean(self) -> Any:
        """Read the list that was uploaded or pasted, or previewed before."""
        cleaned: Any = super().clean()
        self.skipped = []
        data = self.cleaned_data
        only = [line.strip() for line in data.get("only", "").splitlines() if line.strip()]
        try:
            if data.get("file") or data.get("text"):
                text = data["file"].read() if data.get("file") else data["text"].encode()
                found = parse_list(text, only)
                self.skipped = found.skipped
                data["list"] = found.offers
            elif data.get("offers"):
                data["list"] = decode_offers(data["offers"])
            else:
                raise PriceListError("Upload a list, or paste one.")
        except PriceListError as error:
            self.add_error("file", str(error))
            return cleaned
        if not data["list"]:
            self.add_error("file", "The list has no model to import.")
        return cleaned

    @property
    def list(self) -> list[Offer]:
        """The offers to import."""
        found: list[Offer] = self.cleaned_data["list"]
        return found

    @property
    def listed_json(self) -> str:
        """The offers for the hidden field, so that what is imported is what was previewed."""
        return msgspec.json.encode(self.list).decode()

    @property
    def rule(self) -> PriceRule:
        """The rule for prices."""
        data = self.cleaned_data
        return PriceRule(data["factor"] or ONE, data["step"] or 0, data["minimum"] or 0)


def require_permissions(request: HttpRequest) -> None:
    """Raise PermissionDenied for staff without the permissions for all of an import's changes."""
    if not request.user.has_perms(_PERMISSIONS):
        raise PermissionDenied


def preview_table(planned: list[PlannedModel]) -> dict[str, Any]:
    """Return the table of an import's changes."""
    headers = ["Model", "Change", "Cost", "Price", "Input margin"]
    return {
        "headers": [*headers, "Problems"],
        "rows": [
            [
                plan.model.name,
                plan.state,
                _change(plan.old_cost, plan.cost),
                _change(plan.old_price, plan.price),
                _margin(plan),
                ", ".join(plan.problems),
            ]
            for plan in planned
        ],
    }


def _change(old: RatesRow | None, new: RatesRow | None) -> str:
    if new is None:
        return _rates(old)
    return f"{_rates(old)} \N{RIGHTWARDS ARROW} {_rates(new)}" if old else _rates(new)


def _rates(row: RatesRow | None) -> str:
    if row is None:
        return "\N{EN DASH}"
    rates = row.rates
    texts = [
        f"${rate_text((rates.of(name) or 0) * rates.multiplier_millionths)}" for name in _SHOWN
    ]
    return " / ".join(texts)


def _margin(plan: PlannedModel) -> str:
    supplier = Supplier(plan.route, plan.cost or plan.old_cost)
    pair = supplier.pairs(plan.shown_price).get("input") if plan.shown_price else None
    if pair is None or pair.margin_percent is None:
        return ""
    return f"{pair.margin_percent:.0f}%"
