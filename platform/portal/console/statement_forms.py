"""Forms of upstreams' statements: the file, the mapping of its columns, and the confirmation."""

from typing import Any

from django import forms
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanWidget,
)

from api.models import Upstream
from billing.admin.fields import NanosAdminField
from billing.models import UpstreamStatement
from billing.reconciliation.columns import UNIT_NANOS
from billing.reconciliation.export_file import FIELDS, Mapping, Preview

CostUnit = UpstreamStatement.CostUnit


class UploadForm(forms.Form):
    """An upstream and its export."""

    upstream = forms.ChoiceField(widget=UnfoldAdminSelectWidget)
    file = forms.FileField(
        label="Usage export",
        widget=UnfoldAdminFileFieldWidget,
        help_text="CSV with one line for each request. You choose its columns on the next page.",
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names = Upstream.objects.order_by("name").values_list("name", flat=True)
        self.fields["upstream"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]


class ColumnsForm(forms.Form):
    """Which column of the export has what, and the unit of its costs."""

    cost_unit = forms.ChoiceField(
        label="Costs are in", choices=CostUnit.choices, widget=UnfoldAdminSelectWidget
    )
    unit_nanos = NanosAdminField(
        label="Dollars in one unit",
        required=False,
        help_text="For another currency or unit, such as 1.16 for euros.",
    )
    cached_is_separate = forms.BooleanField(
        label="Input tokens exclude cached ones",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="As in Anthropic’s figures. OpenAI’s include them.",
    )

    def __init__(self, statement: UpstreamStatement, preview: Preview, data: Any = None) -> None:
        super().__init__(
            data,
            initial={
                "cost_unit": statement.cost_unit,
                "unit_nanos": statement.unit_nanos if statement.cost_unit == "other" else None,
                "cached_is_separate": statement.cached_is_separate,
                **statement.columns,
            },
        )
        names = [(name, name) for name in dict.fromkeys(preview.header) if name]
        for field, label, is_required in FIELDS:
            self.fields[field] = forms.ChoiceField(
                label=label,
                required=is_required,
                choices=[("", "—" if is_required else "Not in the file"), *names],
                widget=UnfoldAdminSelectWidget,
            )
        self.order_fields([field for field, _, _ in FIELDS])

    def clean(self) -> dict[str, Any]:
        """Require the rate of another currency."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("cost_unit") == CostUnit.OTHER and not cleaned.get("unit_nanos"):
            self.add_error("unit_nanos", "Enter how many dollars one unit is.")
        return cleaned

    @property
    def mapping(self) -> Mapping:
        """The mapping that was chosen."""
        data = self.cleaned_data
        unit = CostUnit(data["cost_unit"])
        return Mapping(
            {field: data[field] for field, _, _ in FIELDS},
            UNIT_NANOS.get(unit) or data["unit_nanos"],
            data["cached_is_separate"],
        )


class ConfirmForm(forms.Form):
    """The confirmation of a statement's corrections."""

    compared_at = forms.DateTimeField(widget=forms.HiddenInput)
    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Kept with the statement and in the staff log.",
    )
