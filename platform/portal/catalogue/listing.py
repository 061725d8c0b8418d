"""The list of models: search, filters and order as the address has them, and its rows."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from accounts.formats import whole_text
from api.catalogue.snapshot import ModelEntry
from api.models import ModelFigures
from billing.pricing.charge import ONE
from portal.ui.availability import percent, seconds_text
from portal.ui.prices import PricedModel

KINDS = {
    "chat": _("Text"),
    "embedding": _("Embeddings"),
    "rerank": _("Reranking"),
    "moderation": _("Moderation"),
    "speech": _("Speech"),
    "transcription": _("Transcription"),
    "image": _("Images"),
    "video": _("Videos"),
}
CAPABILITIES = {
    "tools": _("Tools"),
    "json_mode": _("JSON mode"),
    "structured_outputs": _("JSON schemas"),
    "reasoning": _("Reasoning"),
    "web_search": _("Web search"),
    "image": _("Image input"),
    "file": _("File input"),
    "audio": _("Audio input"),
    "video": _("Video input"),
    "coding": _("Coding endpoint"),
}
_INPUTS = ("image", "file", "audio", "video")
LONGEST_QUERY = 100


@dataclass(frozen=True)
class Row:
    """A model in the list. Measured figures are texts, empty if there are too few requests."""

    model: PricedModel
    figures: ModelFigures | None

    @property
    def capabilities(self) -> list[str]:
        """What the model announces that it can do."""
        return capabilities_of(self.model.entry)

    @property
    def uptime(self) -> str:
        """The share of its requests that succeeded."""
        if self.figures is None:
            return ""
        return percent(self.figures.succeeded, self.figures.succeeded + self.figures.failed)

    @property
    def first_token(self) -> str:
        """The mean time to the first token."""
        if self.figures is None:
            return ""
        return seconds_text(self.figures.first_token_ms_total, self.figures.first_token_count)

    @property
    def speed(self) -> str:
        """The mean number of output tokens a second, after the first one."""
        value = tokens_per_second(self.figures)
        return "" if value is None else whole_text(round(value))


@dataclass(frozen=True)
class Order:
    """A way to sort. `key` returns None for a model that has no such value: it comes last."""

    title: str
    key: Callable[[Row], float | str | None]
    is_descending: bool = False


def tokens_per_second(figures: ModelFigures | None) -> float | None:
    """Return the speed of streams after their first token, or None where none was measured."""
    if figures is None or not figures.streamed_ms or not figures.streamed_tokens:
        return None
    return figures.streamed_tokens * 1000 / figures.streamed_ms


def _uptime(row: Row) -> float | None:
    figures = row.figures
    if figures is None:
        return None
    return figures.succeeded / (figures.succeeded + figures.failed)


def _first_token(row: Row) -> float | None:
    figures = row.figures
    if figures is None or not figures.first_token_count:
        return None
    return figures.first_token_ms_total / figures.first_token_count


def _input_rate(row: Row) -> float | None:
    prices = row.model.prices
    nanos = prices.input_nanos_per_million * prices.multiplier_millionths / ONE
    return nanos if row.model.input_price else None


def _output_rate(row: Row) -> float | None:
    prices = row.model.prices
    nanos = prices.output_nanos_per_million * prices.multiplier_millionths / ONE
    return nanos if row.model.output_price else None


ORDERS = {
    "name": Order(_("Name"), lambda row: row.model.label.casefold()),
    "newest": Order(_("Newest"), lambda row: row.model.entry.created, is_descending=True),
    "context": Order(
        _("Context"), lambda row: row.model.entry.context_tokens or None, is_descending=True
    ),
    "input": Order(_("Input price"), _input_rate),
    "output": Order(_("Output price"), _output_rate),
    "first_token": Order(_("First token"), _first_token),
    "speed": Order(_("Speed"), lambda row: tokens_per_second(row.figures), is_descending=True),
    "uptime": Order(_("Uptime"), _uptime, is_descending=True),
}


@dataclass(frozen=True)
class Column:
    """A heading that sorts. `direction` is what `aria-sort` calls it; empty if it isn't chosen."""

    title: str
    url: str
    direction: str


@dataclass(frozen=True)
class Choice:
    """What the reader chose. `sort` is a name of ORDERS, with `-` before it the other way round."""

    query: str = ""
    kind: str = ""
    capability: str = ""
    sort: str = ""

    @property
    def order(self) -> Order | None:
        """The chosen order, or None for the catalogue's."""
        return ORDERS.get(self.sort.removeprefix("-"))

    @property
    def is_descending(self) -> bool:
        """Whether the highest comes first."""
        return self.order is not None and self.order.is_descending != self.sort.startswith("-")

    @property
    def columns(self) -> dict[str, Column]:
        """The headings by their order's name."""
        chosen = self.sort.removeprefix("-")
        direction = "descending" if self.is_descending else "ascending"
        return {
            name: Column(
                gettext(order.title), self._url_sorted_by(name), direction * (name == chosen)
            )
            for name, order in ORDERS.items()
        }

    def _url_sorted_by(self, name: str) -> str:
        """Return the list's address in an order, the other way round if it is already in it."""
        sort = f"-{name}" if self.sort == name else name
        given = {"q": self.query, "kind": self.kind, "can": self.capability, "sort": sort}
        query = urlencode({key: value for key, value in given.items() if value})
        return f"{reverse('models')}?{query}"


def choice_of(query: QueryDict) -> Choice:
    """Return what the address asks for; what it can't mean is ignored."""
    kind, capability, sort = query.get("kind", ""), query.get("can", ""), query.get("sort", "")
    return Choice(
        query=query.get("q", "").replace("\0", "")[:LONGEST_QUERY].strip(),
        kind=kind if kind in KINDS else "",
        capability=capability if capability in CAPABILITIES else "",
        sort=sort if sort.removeprefix("-") in ORDERS else "",
    )


def rows_of(models: list[PricedModel], choice: Choice) -> list[Row]:
    """Return the chosen models in the chosen order, in one query."""
    figures = {row.model: row for row in ModelFigures.objects.all() if row.is_public}
    rows = [
        Row(model, figures.get(model.name))
        for model in models
        if choice.kind in {"", model.kind}
        and (not choice.capability or can(model.entry, choice.capability))
        and _matches(model, choice.query)
    ]
    order = choice.order
    if order is None:
        return rows
    keyed = [(order.key(row), row) for row in rows]
    known = [each for each in keyed if each[0] is not None]
    known.sort(key=lambda each: each[0], reverse=choice.is_descending)  # type: ignore[arg-type,return-value]
    return [row for _, row in known] + [row for key, row in keyed if key is None]


def can(model: ModelEntry, capability: str) -> bool:
    """Return whether a model announces a capability."""
    if capability == "coding":
        return model.is_coding
    if capability in _INPUTS:
        return capability in model.input_modalities
    return capability in model.features


def capabilities_of(model: ModelEntry) -> list[str]:
    """Return what a model announces that it can do, in words."""
    return [gettext(title) for name, title in CAPABILITIES.items() if can(model, name)]


def _matches(model: PricedModel, query: str) -> bool:
    entry = model.entry
    text = " ".join([model.name, model.title, entry.owner, entry.description, *entry.aliases])
    return all(word in text.casefold() for word in query.casefold().split())
