"""The upper part of the usage page: totals, how they changed, and the chart by group."""

from collections.abc import Callable
from dataclasses import dataclass

from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access import Actor
from accounts.formats import whole_text
from billing.usage.records import Group, Selection, Status, UsageSum, sums, total
from portal.ui.charts import Chart, Metric, chart_of
from portal.usage.forms import MEMBER, UsageFilter

# The filter's field that narrows the page to a group.
_FIELDS = {
    "model": "model",
    "key": "key",
    "tag": "end_user",
    "session": "session",
    "status": "status",
}
_NAMELESS = {
    "tag": gettext_lazy("No tag"),
    "session": gettext_lazy("No session"),
    "endpoint": gettext_lazy("Unknown"),
}


@dataclass(frozen=True)
class Overview:
    """The selection's totals, those of the period of the same length before it, and the chart."""

    total: UsageSum
    previous: UsageSum
    chart: Chart | None
    models: list[str]

    @property
    def cost_change(self) -> str:
        """How the cost changed, such as `+12%`; empty if there was none before."""
        return _change(self.total.charged_nanos, self.previous.charged_nanos)

    @property
    def requests_change(self) -> str:
        """How the number of requests changed."""
        return _change(self.total.requests, self.previous.requests)

    @property
    def input_change(self) -> str:
        """How the number of input tokens changed."""
        return _change(self.total.input_tokens, self.previous.input_tokens)

    @property
    def output_change(self) -> str:
        """How the number of output tokens changed."""
        return _change(self.total.output_tokens, self.previous.output_tokens)


def overview_of(
    actor: Actor, form: UsageFilter, selection: Selection, query: QueryDict
) -> Overview:
    """Return the overview of what a valid form selects; `query` is the page's."""
    group, metric = form.grouping, Metric(form.cleaned_data["metric"] or Metric.COST)
    by = Group.KEY if group == MEMBER else Group(group)
    # Both periods are read at once, and told apart by the time.
    length = selection.until - selection.since
    since = selection.since - length
    both = sums(selection, since=since, by_hour=form.is_by_hour, group=by)
    parts = {place: part for place, part in both.items() if place[0] >= selection.since}
    return Overview(
        total=total(parts.values()),
        previous=total(part for (at, _), part in both.items() if at < selection.since),
        chart=chart_of(
            parts,
            selection.since,
            selection.until,
            by_hour=form.is_by_hour,
            metric=metric,
            name_of=_names(actor, group),
            url_of=lambda value: _narrowed(query, form, group, value),
        ),
        models=sorted({name for _, name in parts}) if by == Group.MODEL else [],
    )


def _names(actor: Actor, group: str) -> Callable[[str], str]:
    """Return what calls a group by the name that people know it by."""
    if group in {MEMBER, Group.KEY}:
        keys = actor.visible_keys().select_related("created_by")
        names = {
            str(key.pk): _maker(key.created_by)
            if group == MEMBER
            else f"{key.name} …{key.last_four}"
            for key in keys.only("name", "last_four", "created_by__name", "created_by__email")
        }
        return lambda value: names.get(value, _("Deleted keys"))
    if group == Group.STATUS:
        return lambda value: str(Status(value).label)
    return lambda value: value or str(_NAMELESS.get(group, _("None")))


def _maker(user: object) -> str:
    """Return the name of a key's creator; a former member's keys stay."""
    name = getattr(user, "name", "") or getattr(user, "email", "")
    return str(name) or _("Former members")


def _narrowed(query: QueryDict, form: UsageFilter, group: str, value: str) -> str:
    """Return the page's URL with this group alone; empty where the filter can't name it."""
    field = _FIELDS.get(group)
    if field is None or not value or not form.offers(field, value):
        return ""
    narrowed = query.copy()
    for place in ("before", "after"):
        narrowed.pop(place, None)
    narrowed[field] = value
    return f"{reverse('usage')}?{narrowed.urlencode()}"


def _change(now: int, before: int) -> str:
    """Return the change in percent with its sign; empty if there was nothing before."""
    if not before:
        return ""
    percent = round(100 * (now - before) / before)
    sign = "±" if not percent else "+" if percent > 0 else "\N{MINUS SIGN}"
    return _("{number}%").format(number=sign + whole_text(abs(percent)))
