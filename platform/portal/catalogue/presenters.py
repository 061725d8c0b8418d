"""A model's page: its price table, its changes of price, its measured figures, its facts."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext
from django.utils.translation import gettext as _

from accounts.formats import number_text, whole_text
from api.catalogue.price_changes import change_text
from api.catalogue.snapshot import ModelEntry
from api.models import Model, ModelFigures
from billing.models import PriceVersion
from billing.pricing.components import COMPONENTS, Component
from billing.pricing.money import factor_text
from billing.pricing.rates import Prices, Rates
from portal.catalogue.listing import KINDS, Row, capabilities_of
from portal.ui.availability import ModelStatus, histories
from portal.ui.prices import PricedModel, rate_dollars


@dataclass(frozen=True)
class PriceRow:
    """A component's line in the price table: a price for each context tier."""

    title: str
    unit: str
    prices: list[str]


@dataclass(frozen=True)
class PriceChange:
    """A price in force from a moment on. `text` has the rates that changed; empty for the first."""

    effective_from: datetime
    text: str
    is_announced: bool


@dataclass(frozen=True)
class ModelPage:
    """What a model's page shows."""

    model: PricedModel
    figures: ModelFigures | None
    now: datetime

    @property
    def entry(self) -> ModelEntry:
        """The model in the catalogue."""
        return self.model.entry

    @property
    def kind(self) -> str:
        """The kind of model, in a word."""
        return gettext(KINDS[self.model.kind]) if self.model.kind in KINDS else self.model.kind

    @property
    def capabilities(self) -> list[str]:
        """What it announces that it can do."""
        return capabilities_of(self.entry)

    @property
    def inputs(self) -> list[str]:
        """What it takes."""
        return _modalities(self.entry.input_modalities)

    @property
    def outputs(self) -> list[str]:
        """What it makes."""
        return _modalities(self.entry.output_modalities)

    @cached_property
    def speed(self) -> str:
        """The mean speed of streams."""
        return Row(self.model, self.figures).speed

    @cached_property
    def history(self) -> ModelStatus | None:
        """Its availability day by day; None where too few teams or requests used it."""
        if self.figures is None:
            return None
        return histories([self.entry], {self.entry.name: ""}, self.now)[0]

    @property
    def tiers(self) -> list[str]:
        """The headings of the price table's columns; one if the input's length doesn't matter."""
        steps = self.model.prices.steps
        if not steps:
            return [_("Price")]
        limits = [whole_text(step.above_input_tokens) for step in steps[1:]]
        first = _("Up to {number} input tokens").format(number=limits[0])
        return [first, *[_("Above {number}").format(number=limit) for limit in limits]]

    @property
    def price_rows(self) -> list[PriceRow]:
        """The price table's lines."""
        steps = self.model.prices.steps or (self.model.prices,)
        return [
            PriceRow(_title(component), _unit(component), _prices(steps, component))
            for component in COMPONENTS.values()
            if any(_is_priced(self.model, step, component) for step in steps)
        ]

    @property
    def service_tiers(self) -> SafeString:
        """The service tiers with their factors, as HTML."""
        tiers = self.model.prices.service_tiers
        return format_html_join(
            ", ",
            "<code>{}</code> \N{MULTIPLICATION SIGN} {}",
            ((name, number_text(factor_text(factor))) for name, factor in tiers.items()),
        )

    @cached_property
    def price_changes(self) -> list[PriceChange]:
        """The announced prices and those that are or were in force, the newest first."""
        product_id = Model.objects.filter(name=self.entry.name).values("product_id")
        versions = PriceVersion.objects.filter(product_id__in=product_id)
        shown = [
            version
            for version in versions.order_by("effective_from", "pk")
            if version.announces or version.effective_from <= self.now
        ]
        changes = []
        for before, version in zip([None, *shown], shown, strict=False):
            text = change_text(before.rates, version.rates) if before is not None else ""
            moment = version.effective_from
            changes.append(PriceChange(moment, text, is_announced=moment > self.now))
        return changes[::-1]

    @property
    def description(self) -> str:
        """The page in a sentence, for search engines and previews."""
        if self.entry.description:
            return gettext(self.entry.description)
        model = self.model
        if model.output_price:
            prices = _("{input_price} input, {output_price} output per million tokens").format(
                input_price=model.input_price, output_price=model.output_price
            )
        else:
            prices = model.unit_price or _("{price} per million input tokens").format(
                price=model.input_price
            )
        if not self.entry.context_tokens:
            return f"{model.label}: {prices}."
        return _("{model}: {prices}, {number} tokens of context.").format(
            model=model.label, prices=prices, number=model.context
        )


def model_page(model: PricedModel, now: datetime) -> ModelPage:
    """Return a model's page, with its measured figures if they may be shown."""
    figures = ModelFigures.objects.filter(model=model.name).first()
    return ModelPage(model, figures if figures and figures.is_public else None, now)


def _modalities(names: Iterable[str]) -> list[str]:
    shown = {
        "text": pgettext("modality", "text"),
        "image": pgettext("modality", "image"),
        "file": pgettext("modality", "file"),
        "audio": pgettext("modality", "audio"),
        "video": pgettext("modality", "video"),
        "embeddings": pgettext("modality", "embeddings"),
    }
    return [shown.get(name, name) for name in names]


def _title(component: Component) -> str:
    name = component.title
    return f"{name[:1].upper()}{name[1:]}"


def _unit(component: Component) -> str:
    return _("per million") if component.per > 1 else _("each")


def _prices(steps: tuple[Rates, ...], component: Component) -> list[str]:
    return [
        rate_dollars(step.charged(component.name), step.multiplier_millionths) for step in steps
    ]


def _is_priced(model: PricedModel, rates: Prices | Rates, component: Component) -> bool:
    """Return whether the component has a price of its own, or is free and that says something."""
    rate = rates.of(component.name)
    if component.part_of:
        return rate is not None and rate != rates.of(component.part_of)
    if component.name == "input":
        return bool(model.input_price)
    if component.name == "output":
        return bool(model.output_price)
    return bool(rate) or (rate == 0 and not component.field)
