"""The import of an upstream's price list: its models, what they cost us, and prices by a rule.

An import is planned, reviewed by a person, and then made as planned: in one transaction, for one
moment. Models, routes and prices that exist are recognized; nothing is removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction

from api.catalogue.load import LOCK_SQL
from api.catalogue.price_lists import Offer
from api.catalogue.rate_versions import in_force
from api.models import Model, Route, RouteCost, Upstream
from billing.models import PriceVersion, Product, RatesRow
from billing.pricing.charge import ONE
from billing.pricing.components import COMPONENTS
from billing.pricing.margins import is_below_cost


class PriceRule(NamedTuple):
    """How to make a price from a cost: times a factor, rounded up to a step, at least a minimum.

    `step_nanos` and `minimum_nanos` are per million tokens; the minimum is of input and output.
    """

    factor_millionths: int
    step_nanos: int
    minimum_nanos: int

    def price_of(self, component: str, cost_nanos: int) -> int:
        """Return a component's price in nano-dollars. What costs nothing costs the minimum."""
        nanos = -(-cost_nanos * self.factor_millionths // ONE)
        if COMPONENTS[component].per > 1:
            step = max(1, self.step_nanos)
            nanos = -(-nanos // step) * step
        return max(nanos, self.minimum_nanos) if component in {"input", "output"} else nanos


@dataclass
class PlannedModel:
    """What an import does with an offer. `cost` and `price` are rows to add, or None.

    `old_cost` and `old_price` would be in force at that moment without the import.
    """

    offer: Offer
    model: Model
    route: Route
    old_cost: RouteCost | None = None
    old_price: PriceVersion | None = None
    cost: RouteCost | None = None
    price: PriceVersion | None = None
    problems: list[str] = field(default_factory=list)
    is_new: bool = False

    @property
    def state(self) -> str:
        """`New`, `Changed` or `Unchanged`."""
        if self.is_new:
            return "New"
        return "Changed" if self.cost or self.price else "Unchanged"

    @property
    def shown_price(self) -> PriceVersion | None:
        """The price in force after the import."""
        return self.price or self.old_price


def plan_import(
    upstream: Upstream,
    offers: Sequence[Offer],
    rule: PriceRule,
    moment: datetime,
    *,
    reprices: bool,
) -> list[PlannedModel]:
    """Return what an import would do, changing nothing.

    Models without a price at `moment` get one by the rule; with `reprices`, all do.
    """
    names = [offer.name for offer in offers]
    models = {
        model.name: model
        for model in Model.objects.filter(name__in=names).select_related("product")
    }
    routes = {
        route.upstream_model: route
        for route in Route.objects.filter(
            upstream=upstream, upstream_model__in=names
        ).select_related("model__product", "upstream")
    }
    taken = set(Product.objects.filter(sku__in=names).values_list("sku", flat=True))
    planned = []
    for offer in offers:
        route = routes.get(offer.name)
        model = route.model if route else models.get(offer.name) or _new_model(offer)
        if route is None:
            route = Route(model=model, upstream=upstream, upstream_model=offer.name)
        plan = PlannedModel(offer, model, route, is_new=route.pk is None)
        if model.pk is None and offer.name in taken:
            plan.problems.append("another model's product has this name")
        _plan_rates(plan, rule, moment, reprices=reprices)
        planned.append(plan)
    return planned


def _new_model(offer: Offer) -> Model:
    """Return an unsaved model as the list describes it."""
    context = offer.context_tokens or Model._meta.get_field("context_tokens").get_default()
    most = min(offer.max_output_tokens or context, context)
    return Model(
        name=offer.name,
        title=offer.title,
        kind=offer.kind,
        owner=offer.name.partition("/")[0] if "/" in offer.name else "",
        product=Product(sku=offer.name),
        context_tokens=context,
        max_output_tokens=most if offer.kind == "chat" else 0,
        input_modalities=list(offer.input_modalities),
        output_modalities=["text"] if offer.kind == "chat" else ["embeddings"],
    )


def _plan_rates(plan: PlannedModel, rule: PriceRule, moment: datetime, *, reprices: bool) -> None:
    if plan.route.pk:
        plan.old_cost = in_force(plan.route.costs.all(), moment)
    if plan.model.pk:
        plan.old_price = in_force(plan.model.product.price_versions.all(), moment)
    cost = RouteCost(route=plan.route, effective_from=moment, **_columns(plan.offer.costs))
    plan.cost = _unless_same(cost, plan.old_cost, plan, "cost")
    if reprices or plan.old_price is None:
        by_rule = {name: rule.price_of(name, nanos) for name, nanos in plan.offer.costs.items()}
        price = PriceVersion(product=plan.model.product, effective_from=moment, **_columns(by_rule))
        plan.price = _unless_same(price, plan.old_price, plan, "price")
    shown, bought = plan.shown_price, plan.cost or plan.old_cost
    if shown is None or not any(plan.offer.costs.values()):
        return
    suppliers = [bought, *_other_costs(plan, moment)] if plan.price else [bought]
    if any(each is not None and is_below_cost(shown.rates, each.rates) for each in suppliers):
        plan.problems.append("below cost")


def _other_costs(plan: PlannedModel, moment: datetime) -> list[RouteCost]:
    """Return what the model's other routes cost at a moment."""
    if plan.model.pk is None:
        return []
    others = plan.model.routes.filter(is_enabled=True).exclude(pk=plan.route.pk)
    return [cost for route in others if (cost := in_force(route.costs.all(), moment)) is not None]


def _unless_same(row: Any, old: RatesRow | None, plan: PlannedModel, what: str) -> Any:
    """Return a row to add, or None if the old one has the same rates or begins at its moment."""
    if old is None:
        return row
    if old.rates == row.rates:
        return None
    if old.effective_from == row.effective_from:
        plan.problems.append(f"another {what} begins at this moment")
        return None
    return row


def _columns(rates: dict[str, int]) -> dict[str, Any]:
    """Return the columns of a row with these rates by component."""
    columns: dict[str, Any] = {
        COMPONENTS[name].rate_column: nanos
        for name, nanos in rates.items()
        if COMPONENTS[name].field
    }
    extra = {name: nanos for name, nanos in rates.items() if not COMPONENTS[name].field}
    return {**columns, "extra_rates": extra}


def make_import(
    upstream: Upstream,
    offers: Sequence[Offer],
    rule: PriceRule,
    moment: datetime,
    *,
    reprices: bool,
    source: str,
) -> list[PlannedModel]:
    """Make an import, and return what was done.

    Models with problems other than a loss are left out.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK_SQL)
        planned = plan_import(upstream, offers, rule, moment, reprices=reprices)
        for plan in planned:
            if {*plan.problems} - {"below cost"}:
                continue
            if plan.model.pk is None:
                plan.model.product.save()
                plan.model.product_id = plan.model.product.pk
                plan.model.save()
            if plan.route.pk is None:
                plan.route.model_id = plan.model.pk
                plan.route.save()
            if plan.cost is not None:
                plan.cost.route_id = plan.route.pk
                plan.cost.source = source
                plan.cost.save()
            if plan.price is not None:
                plan.price.product_id = plan.model.product_id
                plan.price.source = source
                plan.price.save()
    return planned
