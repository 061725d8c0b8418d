"""The forms of a team's contract prices: set one, reviewed before it is sent, and end one."""

import hashlib
import uuid
from typing import Any

from django import forms
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSplitDateTimeWidget

from api.catalogue import contracts
from api.models import Model
from billing.admin.fields import FactorAdminField, NanosAdminField, PublishTimeField
from billing.models import ContractPrice, Product
from billing.pricing.components import COMPONENTS
from portal.console.forms import ActionForm

_RATE = "rate_"


class ContractForm(ActionForm):
    """A factor for all models or one, or own rates for one.

    The first time it is sent, it is shown again with the effect (`review`), to be sent once more.
    """

    id = forms.UUIDField(widget=forms.HiddenInput)
    reviewed = forms.CharField(required=False, widget=forms.HiddenInput)
    model = forms.ChoiceField(required=False, widget=UnfoldAdminSelectWidget)
    factor = FactorAdminField(
        help_text="Multiplies the list price: 0.85 is 15% off. Leave at 1 for own rates.",
    )
    starts_at = PublishTimeField()
    ends_at = forms.SplitDateTimeField(
        label="Ends at (UTC)",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Leave empty for no end.",
    )

    review: contracts.Review | None = None
    contract: ContractPrice | None = None

    def offer(self) -> None:
        """Offer the models that are sold, and a field for each component's own rate."""
        self.initial.setdefault("id", uuid.uuid4())
        models = Model.objects.filter(product__price_versions__effective_from__lte=timezone.now())
        names = models.distinct().order_by("name").values_list("product_id", "name")
        choices = [("", "All models, including future ones")]
        choices += [(str(pk), name) for pk, name in names]
        self.fields["model"].choices = choices  # type: ignore[attr-defined]
        self.fields["starts_at"].label = "Starts at (UTC)"
        for name, component in COMPONENTS.items():
            unit = "each" if component.per == 1 else "per million"
            self.fields[f"{_RATE}{name}"] = NanosAdminField(
                label=f"Own rate: {component.plural}, $ {unit}", required=False
            )
        self.fields[f"{_RATE}input"].help_text = (
            "Own rates replace the list price of one model. Rates left empty, and the list price's "
            "tiers, stay as they are today."
        )

    def clean(self) -> Any:
        """Compute the effect; show it before the form can take effect."""
        cleaned = super().clean()
        if self.errors:
            return cleaned
        try:
            self.contract = contracts.contract_of(self.team, self.terms())
        except contracts.ContractError as error:
            self.add_error(error.field if error.field in self.fields else None, str(error))
            return cleaned
        digest = self._digest()
        if self.cleaned_data["reviewed"] != digest:
            self.review = contracts.review_of(self.contract)
            self.data = {**self.data.dict(), "reviewed": digest}  # type: ignore[attr-defined]
            raise forms.ValidationError("Check the effect, then send the form again.")
        return cleaned

    def _digest(self) -> str:
        """Return a digest of what was entered: other terms must be reviewed again."""
        skipped = {"reviewed", "reason", "csrfmiddlewaretoken"}
        entered = sorted((name, text) for name, text in self.data.items() if name not in skipped)
        return hashlib.sha256(repr(entered).encode()).hexdigest()

    def terms(self) -> contracts.ContractTerms:
        """Return what the form asks for."""
        data = self.cleaned_data
        rates = {name: data.get(f"{_RATE}{name}") for name in COMPONENTS}
        product = data.get("model")
        return contracts.ContractTerms(
            form_id=data["id"],
            product=Product.objects.get(pk=product) if product else None,
            factor_millionths=data["factor"],
            rates={name: nanos for name, nanos in rates.items() if nanos is not None},
            starts_at=data["starts_at"],
            ends_at=data.get("ends_at"),
            reason=data["reason"],
        )


class EndContractForm(ActionForm):
    """One of the team's contract prices, to end now."""

    contract = forms.ModelChoiceField(
        ContractPrice.objects.none(),
        label="Contract price",
        empty_label=None,
        widget=UnfoldAdminSelectWidget,
        help_text="The list price applies from the next request on.",
    )

    def offer(self) -> None:
        """Offer the contracts that apply, will apply or wait."""
        self.fields["contract"].queryset = contracts.open_contracts(self.team)  # type: ignore[attr-defined]
