"""The filter of the usage page."""

from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey
from billing.usage.records import Group, Selection, Status
from portal.ui.charts import METRIC_LABELS, Metric
from portal.ui.periods import DayRangeForm, Period, last_days, month_of, today

PERIODS = [
    ("today", _("Today")),
    ("7d", _("7 days")),
    ("30d", _("30 days")),
    ("month", _("This month")),
    ("own", _("Custom range")),
]
DEFAULT_PERIOD = "30d"
MEMBER = "member"  # the creator of the key
GROUPS = [*Group.choices[:2], (MEMBER, _("Member")), *Group.choices[2:]]
METRICS = [(metric.value, METRIC_LABELS[metric]) for metric in Metric]
MOST_DAYS_BY_HOUR = 2
_FILTERS = ("key", "model", "status", "end_user", "session")


class _NameSelect(forms.Select):
    """A choice of names that no language changes, but for the first, which is empty."""

    def create_option(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Return an option that browsers leave untranslated."""
        option = super().create_option(*args, **options)
        if option["value"]:
            option["attrs"]["translate"] = "no"
        return option


class UsageFilter(DayRangeForm):
    """A selection of requests by time, key, model, status and end user."""

    period = forms.ChoiceField(label=_("Time"), choices=PERIODS, required=False)
    key = forms.ChoiceField(label=_("Key"), required=False)
    model = forms.CharField(label=_("Model"), required=False, max_length=120)
    status = forms.ChoiceField(
        label=_("Status"), choices=[("", _("Any status")), *Status.choices], required=False
    )
    end_user = forms.CharField(
        label=_("User tag"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"placeholder": _("Any"), "dir": "auto"}),
    )
    session = forms.CharField(
        label=_("Session"),
        required=False,
        max_length=128,
        widget=forms.TextInput(attrs={"placeholder": _("Any"), "dir": "auto"}),
    )

    metric = forms.ChoiceField(label=_("Show"), choices=METRICS, required=False)
    group = forms.ChoiceField(label=_("Group by"), choices=GROUPS, required=False)

    def __init__(self, data: Any, keys: list[ApiKey]) -> None:
        defaults = {"period": DEFAULT_PERIOD, "metric": Metric.COST, "group": Group.MODEL}
        super().__init__(defaults | data.dict())
        for name in ("metric", "group"):  # they stand beside the chart
            self.fields[name].widget.attrs |= {"form": "usage-filter", "data-submits": True}
        names = [(str(key.pk), _name_of(key)) for key in keys]
        self.offer("key", [("", _("All keys")), *names])

    def offer_models(self, names: list[str]) -> None:
        """Make the model a choice of these names, and of the one that is chosen."""
        chosen = self["model"].value()
        offered = sorted({*names, chosen} if chosen else names)
        choices = [("", _("All models")), *[(name, name) for name in offered]]
        self.fields["model"].widget = _NameSelect(choices=choices)

    def clean(self) -> dict[str, Any]:
        """Make `cleaned_data["span"]`, the period that is asked for."""
        cleaned: dict[str, Any] = super().clean() or {}
        match cleaned.get("period") or DEFAULT_PERIOD:
            case "today":
                cleaned["span"] = last_days(1)
            case "7d":
                cleaned["span"] = last_days(7)
            case "30d":
                cleaned["span"] = last_days(30)
            case "month":
                cleaned["span"] = Period(month_of(today()).first, today())
            case _:
                cleaned["span"] = self.own_range(cleaned)
        return cleaned

    @property
    def span(self) -> Period:
        """The period of a form that is valid."""
        span: Period = self.cleaned_data["span"]
        return span

    @property
    def grouping(self) -> str:
        """What the chart of a valid form is grouped by."""
        return self.cleaned_data["group"] or Group.MODEL

    def offers(self, name: str, value: str) -> bool:
        """Return whether the field takes the value, such as a key that can be filtered by."""
        field = self.fields[name]
        return not isinstance(field, forms.ChoiceField) or field.valid_value(value)

    @property
    def is_by_hour(self) -> bool:
        """Whether the period of a valid form is short enough for a chart of hours."""
        return self.span.days <= MOST_DAYS_BY_HOUR

    @property
    def is_filtered(self) -> bool:
        """Whether more than the period was chosen, whatever is valid of it."""
        return self.filter_count > 0

    @property
    def filter_count(self) -> int:
        """How many filters besides the period were chosen."""
        return sum(bool(self.data.get(name)) for name in _FILTERS)

    def selection(self, account_id: int) -> Selection:
        """Return what a form that is valid selects of an account."""
        chosen = self.cleaned_data
        return Selection(
            account_id=account_id,
            since=self.span.since,
            until=self.span.until,
            key_id=int(chosen["key"]) if chosen["key"] else None,
            model=chosen["model"],
            status=chosen["status"],
            end_user=chosen["end_user"],
            session_id=chosen["session"],
        )


class FilterName(forms.Form):
    """The name under which a filter is kept."""

    name = forms.CharField(label=_("Save this filter as"), max_length=60)


def _name_of(key: ApiKey) -> str:
    if key.revoked_at:
        return gettext("{name} (…{digits}, revoked)").format(name=key.name, digits=key.last_four)
    return gettext("{name} (…{digits})").format(name=key.name, digits=key.last_four)
