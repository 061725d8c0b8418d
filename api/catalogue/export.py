"""The whole catalogue as TOML that can be loaded again, and the changes a file would make to it.

Values that are the file's defaults are left out. Keys of upstreams are never exported; a stored one
stays with its row when the file is loaded. Models that never had a price can't be expressed: they
are named in comments.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from django.db import transaction
from django.utils import timezone

from accounts.models import Plan
from api.catalogue.check import PRICED_BY
from api.catalogue.file import (
    CostTable,
    Document,
    OfferTable,
    PlanTable,
    RouteTable,
    ServiceTable,
    SharedTable,
    UpstreamKeyTable,
    UpstreamTable,
)
from api.catalogue.load import CatalogueChanges, load_document
from api.models import Model, Route, Service, Upstream, UpstreamKey
from api.models.upstream_keys import FIRST_NAME
from api.upstream_keys import variable_of
from billing.models import PlanOffer, RatesRow
from billing.pricing.components import COMPONENTS
from billing.pricing.money import NANOS_PER_CENT, dollars_short_text, factor_text


def export_catalogue() -> str:
    """Return the catalogue as TOML, in one snapshot of the database."""
    with transaction.atomic():
        return "\n".join(_lines(timezone.now())).strip() + "\n"


def changes_by(document: Document, name: str) -> tuple[CatalogueChanges, str]:
    """Return what loading a file would change: the rows, and a unified diff of the catalogue.

    Nothing is changed. Raise CatalogueError if the file contradicts the database.
    """
    with transaction.atomic():
        before = export_catalogue()
        changes = load_document(document, file=name, name=name)
        after = export_catalogue()
        transaction.set_rollback(True)
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), "catalogue", name, lineterm=""
    )
    return changes, "\n".join(lines)


def _lines(now: datetime) -> Iterator[str]:
    service = Service.objects.first() or Service()
    yield "[service]"
    yield from _differing(ServiceTable, service, always=("name",))
    offers = {offer.plan_id: offer for offer in PlanOffer.objects.all()}
    plans = sorted(Plan.objects.all(), key=lambda plan: (_place(offers.get(plan.pk)), plan.pk))
    for plan in plans:
        yield from ("", "[[plans]]")
        yield from _differing(PlanTable, plan, skip=("offer",))
        if plan.pk in offers:
            yield from ("", "[plans.offer]")
            yield from _offer(offers[plan.pk])
    for upstream in Upstream.objects.order_by("name").prefetch_related("keys"):
        yield from ("", "[[upstreams]]")
        yield from _differing(UpstreamTable, upstream, skip=("api_key_env", "keys"))
        yield from _keys(sorted(upstream.keys.all(), key=lambda key: key.pk))
    routes = Route.objects.select_related("upstream").prefetch_related("costs")
    by_model: dict[int, list[Route]] = {}
    for route in routes.order_by("priority", "pk"):
        by_model.setdefault(route.model_id, []).append(route)
    models = Model.objects.select_related("product").prefetch_related(
        "aliases", "product__price_versions"
    )
    for model in models.order_by("position", "name"):
        yield from _model(model, by_model.get(model.pk, []), now)


def _place(offer: PlanOffer | None) -> int:
    return -1 if offer is None else offer.position


def _offer(offer: PlanOffer) -> Iterator[str]:
    yield f"price = {_dollars(offer.price_cents * NANOS_PER_CENT)}"
    yield f"credit = {_dollars(offer.credit_nanos)}"
    yield from _differing(OfferTable, offer, skip=("price", "credit"))


def _keys(keys: list[UpstreamKey]) -> Iterator[str]:
    """Yield an upstream's keys, without their secrets: one without limits by its variable alone."""
    for key in keys:
        limits = list(_differing(UpstreamKeyTable, key, skip=("name", "api_key_env")))
        if len(keys) > 1 or key.name != FIRST_NAME or limits or not key.has_secret:
            yield from ("", "[[upstreams.keys]]", f"name = {_text(key.name)}")
        yield from _variable(key)
        yield from limits


def _variable(key: UpstreamKey) -> Iterator[str]:
    if key.api_key_env:
        yield f"api_key_env = {_text(variable_of(key.api_key_env))}"


def _model(model: Model, routes: list[Route], now: datetime) -> Iterator[str]:
    versions = sorted(model.product.price_versions.all(), key=lambda row: row.effective_from)
    current, to_come = _split(versions, now)
    if current is None and not to_come:
        yield from ("", f"# {json.dumps(model.name)} has no price, and is left out.")
        return
    yield from ("", "[[models]]", f"name = {_text(model.name)}")
    if model.title:
        yield f"title = {_text(model.title)}"
    if aliases := sorted(alias.name for alias in model.aliases.all()):
        yield f"aliases = {_value(aliases)}"
    yield f"created = {int(model.created_at.timestamp())}"
    yield from _differing(SharedTable, model, skip=("created", "cost", "routes"))
    first, *rest = [current, *to_come] if current else to_come
    needed = PRICED_BY.get(model.kind, ())
    yield from ("", "[models.prices]")
    yield from _rates(first, needed=needed, is_dated=first is not current)
    for version in rest:
        yield from ("", "[[models.next_prices]]")
        yield from _rates(version, needed=needed, is_dated=True)
    for route in routes:
        yield from _route(route, now)


def _route(route: Route, now: datetime) -> Iterator[str]:
    yield from ("", "[[models.routes]]", f"upstream = {_text(route.upstream.name)}")
    yield f"upstream_model = {_text(route.upstream_model)}"
    skip = ("upstream", "upstream_model", "cost", "next_costs")
    yield from _differing(RouteTable, route, skip=skip)
    current, to_come = _split(sorted(route.costs.all(), key=lambda row: row.effective_from), now)
    if current is not None:
        yield from ("", "[models.routes.cost]")
        yield from _rates(current, needed=(), is_dated=False)
    for version in to_come:
        yield from ("", "[[models.routes.next_costs]]")
        yield from _rates(version, needed=(), is_dated=True)


def _split(versions: list[Any], now: datetime) -> tuple[Any, list[Any]]:
    """Return the version in force, or None, and the future ones."""
    begun = [version for version in versions if version.effective_from <= now]
    return begun[-1] if begun else None, versions[len(begun) :]


def _rates(row: RatesRow, *, needed: Iterable[str], is_dated: bool) -> Iterator[str]:
    """Yield a row's rates as a table's keys. Those `needed` are written even if they are 0."""
    if is_dated:
        yield f"effective_from = {row.effective_from.isoformat()}"
    if row.source:
        yield f"source = {_text(row.source)}"
    for name, component in COMPONENTS.items():
        if not component.field:
            continue
        nanos = getattr(row, component.rate_column)
        is_written = nanos is not None if component.part_of else nanos or name in needed
        if is_written:
            yield f"{name} = {_dollars(nanos)}"
    for name, nanos in row.extra_rates.items():
        yield f"{name} = {_dollars(nanos)}"
    if row.factor_millionths != CostTable().factor:
        yield f"factor = {_text(factor_text(row.factor_millionths))}"
    if row.service_tiers:
        tiers = {name: factor_text(factor) for name, factor in row.service_tiers.items()}
        yield f"service_tiers = {_value(tiers)}"
    if row.context_tiers:
        yield "context_tiers = ["
        for tier in row.context_tiers:
            rates = {name: dollars_short_text(nanos) for name, nanos in tier["rates"].items()}
            yield f"  {_value({'above_input_tokens': tier['above_input_tokens'], **rates})},"
        yield "]"


def _differing(
    kind: type[msgspec.Struct], row: Any, *, skip: Iterable[str] = (), always: Iterable[str] = ()
) -> Iterator[str]:
    """Yield the keys of a row's table whose values are not the file's defaults."""
    for field in msgspec.structs.fields(kind):
        if field.name in skip:
            continue
        value = getattr(row, field.name)
        default: Any = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if value is not None and (value != default or field.name in always):
            yield f"{field.name} = {_value(value)}"


def _value(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{name} = {_value(each)}' for name, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value)


def _text(text: str) -> str:
    """Return a text as a TOML basic string: JSON's escapes, and that of DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _dollars(nanos: int) -> str:
    return _text(dollars_short_text(nanos))
