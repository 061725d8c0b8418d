"""The price list: a line for each model, prices in dollars."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.formats import dollars_text, number_text, whole_text
from api.catalogue.snapshot import ModelEntry, Snapshot, load_snapshot
from billing.pricing.charge import ONE
from billing.pricing.components import COMPONENTS, extra_components
from billing.pricing.money import factor_text, unit_price_text
from billing.pricing.rates import Prices
from portal.access import actor_of


@dataclass(frozen=True)
class PricedModel:
    """A model's line in the price list; prices are texts such as `$0.70`, empty if none applies.

    `label` is the title, with the name beside it where other models have the same title. The prices
    of cached input and reasoning are empty if they equal those of input and output. `tiers`
    describes context tiers and service tiers, one text each. `is_contract` says that it is the
    team's contract price.
    """

    entry: ModelEntry
    prices: Prices
    name: str
    title: str
    label: str
    kind: str
    context: str
    max_output: str
    input_price: str
    cached_price: str
    output_price: str
    reasoning_price: str
    unit_price: str
    tiers: tuple[str, ...] = ()
    is_contract: bool = False


def snapshot_for(request: HttpRequest) -> Snapshot:
    """Return the catalogue at the prices of the reader's team, or at list prices."""
    actor, snapshot = actor_of(request), load_snapshot()
    return snapshot.for_team(actor.team.pk) if actor else snapshot


def price_list(snapshot: Snapshot) -> list[PricedModel]:
    """Return the lines of all models that have a price now, in the catalogue's order."""
    now = timezone.now()
    priced = [
        (model, prices)
        for model in snapshot.public_models()
        if (prices := model.price_at(now)) is not None
    ]
    uses = Counter(_bare_title(model) for model, _ in priced)
    return [
        _line(model, prices, is_alone=uses[_bare_title(model)] == 1) for model, prices in priced
    ]


def sold_names(snapshot: Snapshot) -> set[str]:
    """Return the names and aliases of the models that have a price now, and so a page."""
    now = timezone.now()
    return {name for name, model in snapshot.models.items() if model.price_at(now) is not None}


def _title(model: ModelEntry) -> str:
    return model.title or model.name


def _bare_title(model: ModelEntry) -> str:
    """Return the title's letters and digits: people take `R1-Pro` and `R1 pro` for one label."""
    title = _title(model)
    return "".join(each for each in title.casefold() if each.isalnum()) or title


def _line(model: ModelEntry, prices: Prices, *, is_alone: bool) -> PricedModel:
    is_chat = model.kind == "chat"
    takes_text = is_chat or prices.input_nanos_per_million > 0
    cached, reasoning = prices.cached_input_nanos_per_million, prices.reasoning_nanos_per_million
    has_cached = is_chat and cached != prices.input_nanos_per_million
    has_reasoning = is_chat and reasoning != prices.output_nanos_per_million
    factor = prices.multiplier_millionths
    return PricedModel(
        entry=model,
        prices=prices,
        name=model.name,
        title=_title(model),
        label=_title(model) if is_alone else f"{_title(model)} ({model.name})",
        kind=model.kind,
        context=whole_text(model.context_tokens) if takes_text else "",
        max_output=whole_text(model.max_output_tokens) if is_chat else "",
        input_price=rate_dollars(prices.input_nanos_per_million, factor) if takes_text else "",
        cached_price=rate_dollars(cached, factor) if has_cached else "",
        output_price=rate_dollars(prices.output_nanos_per_million, factor) if is_chat else "",
        reasoning_price=rate_dollars(reasoning, factor) if has_reasoning else "",
        unit_price=_unit_price(prices) or ("" if takes_text else _("free")),
        tiers=tuple(_tiers(prices)),
        is_contract=prices.contract != 0,
    )


def _unit_price(prices: Prices) -> str:
    """Return the prices per unit, and of components without a column of their own."""
    factor = prices.multiplier_millionths
    units = {
        _("{price} per image"): prices.image_nanos,
        _("{price} per video"): prices.piece_nanos,
        _("{price} per second"): prices.second_nanos,
        _("{price} per request"): prices.request_nanos,
    }
    texts = [
        text.format(price=rate_dollars(nanos, factor)) for text, nanos in units.items() if nanos
    ]
    for component in extra_components():
        nanos = prices.extra.get(component.name)
        if nanos == 0:
            texts.append(_("free {components}").format(components=component.title))
        elif nanos is not None:
            each = _("{price} per {component}")
            text = each if component.per == 1 else _("{price} per million {components}")
            texts.append(
                text.format(
                    price=rate_dollars(nanos, factor),
                    component=component.label(1),
                    components=component.title,
                )
            )
    return ", ".join(texts)


def _tiers(prices: Prices) -> Iterator[str]:
    """Yield each context tier's changes from the tier below, and each service tier's factor.

    A component that costs the same as the one it is part of is left out.
    """
    factor = prices.multiplier_millionths
    for below, step in pairwise(prices.steps):
        each = _("{components} {price} each")
        per_million = _("{components} {price} per million")
        changed = [
            (per_million if component.per > 1 else each).format(
                components=component.title, price=rate_dollars(rate, factor)
            )
            for name, component in COMPONENTS.items()
            if (rate := step.of(name)) is not None
            and rate != below.of(name)
            and not (component.part_of and rate == step.of(component.part_of))
        ]
        yield _("Above {number} input tokens: {changes}").format(
            number=whole_text(step.above_input_tokens), changes=", ".join(changed)
        )
    for name, millionths in prices.service_tiers.items():
        yield _("Service tier {name}: all prices times {factor}").format(
            name=name, factor=number_text(factor_text(millionths))
        )


def rate_dollars(amount_nanos: int, factor_millionths: int = ONE) -> str:
    """Return the amount with at least its cents."""
    if amount_nanos == 0:
        return _("free")
    text = unit_price_text(amount_nanos * factor_millionths, ONE)
    whole, _dot, decimals = text.partition(".")
    return dollars_text(f"${whole}.{decimals:0<2}")
