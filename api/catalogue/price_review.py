"""The effects of a new price, for review before it is published."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q
from django.utils import timezone

from api.catalogue.check import TEXT_PRICED_BY
from api.catalogue.rate_versions import in_force
from api.models import Model, Route, RouteCost
from billing.models import ContractPrice, PriceVersion, Product
from billing.pricing.components import COMPONENTS, Component
from billing.pricing.margins import RatePair, rate_pairs, rate_text
from billing.pricing.rates import Rates
from billing.usage.repricing import Repriced, repriced_customers

REPRICED_DAYS = 30


@dataclass(frozen=True)
class Supplier:
    """A route of the model, with its cost at a moment, or None if that is unknown."""

    route: Route
    cost: RouteCost | None

    @property
    def label(self) -> str:
        """The upstream's name, with its name for the model where that is another."""
        return str(self.route.upstream)

    def pairs(self, price: PriceVersion) -> dict[str, RatePair]:
        """Return each component's price and cost without tiers, by the component's name."""
        if self.cost is None:
            return {}
        pairs = rate_pairs(price.rates, self.cost.rates)
        return {
            pair.component.name: pair
            for pair in pairs
            if not pair.above_input_tokens and not pair.service_tier
        }

    def losses(self, rates: Rates) -> list[str]:
        """Return a sentence for each component that is sold below its cost at `rates`."""
        if self.cost is None:
            return []
        return [
            _loss_text(self.label, pair)
            for pair in rate_pairs(rates, self.cost.rates)
            if pair.is_below_cost
        ]


def price_at(product: Product, moment: datetime) -> PriceVersion | None:
    """Return the price in force at a moment, or None."""
    return in_force(product.price_versions.all(), moment)


def suppliers_of(product: Product, moment: datetime) -> list[Supplier]:
    """Return the model's routes in the order they are tried, each with its cost at a moment."""
    routes = Route.objects.filter(model__product=product, is_enabled=True).select_related(
        "upstream", "model"
    )
    return [
        Supplier(route, in_force(route.costs.all(), moment))
        for route in routes.order_by("priority", "-weight", "pk")
    ]


def free_components(price: PriceVersion, current: PriceVersion | None) -> list[Component]:
    """Return what the new price would make free, which may be an accident.

    That is what costs something now, and what a model of its kind is sold by.
    """
    model = Model.objects.filter(product=price.product).first()
    must = TEXT_PRICED_BY.get(model.kind, ()) if model else ()
    new, old = price.rates, current.rates if current else None
    free = [
        component
        for name, component in COMPONENTS.items()
        if not new.of(name)
        and not (component.part_of and new.of(name) is None)
        and (name in must or (old is not None and old.of(name)))
    ]
    if not free and not any(new.of(name) for name in COMPONENTS):
        return list(COMPONENTS.values())[:1]
    return free


def losses_of(price: PriceVersion, suppliers: Iterable[Supplier]) -> list[str]:
    """Return a sentence for each component that an upstream charges more for than we do."""
    return losses_at(price.rates, suppliers)


def losses_at(rates: Rates, suppliers: Iterable[Supplier]) -> list[str]:
    """Return a sentence for each component that costs us more than it does at `rates`."""
    return [text for supplier in suppliers for text in supplier.losses(rates)]


def customers_of(price: PriceVersion) -> list[Repriced]:
    """Return the largest customers of the last 30 days, with what they would have paid.

    Teams that will have a contract price when the new price takes effect pay by it.
    """
    model = Model.objects.filter(product=price.product).first()
    if model is None:
        return []
    now = timezone.now()
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=REPRICED_DAYS)
    contracts = _contracts_at(price.product, price.effective_from or now)
    return repriced_customers(model.name, price.rates, since, contracts)


def _contracts_at(product: Product, moment: datetime) -> dict[int, ContractPrice]:
    """Return the contract that applies to the product at a moment, by its team's id."""
    rows = ContractPrice.objects.filter(
        Q(product=product) | Q(product__isnull=True),
        Q(ends_at__isnull=True) | Q(ends_at__gt=moment),
        state=ContractPrice.State.APPROVED,
        effective_from__lte=moment,
    )
    # One for the product comes before one for all products.
    return {row.team_id: row for row in rows.order_by(F("product").asc(nulls_first=True))}


def _loss_text(upstream: str, pair: RatePair) -> str:
    per = "" if pair.component.per == 1 else " per million"
    where = f" above {pair.above_input_tokens:,} input tokens" if pair.above_input_tokens else ""
    where += f" at service tier {pair.service_tier}" if pair.service_tier else ""
    return (
        f"{pair.component.plural.capitalize()}{where}: ${rate_text(pair.price)}{per}, but "
        f"{upstream} charges ${rate_text(pair.cost)}."
    )
