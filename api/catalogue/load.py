"""Loading of a catalogue file into the database: atomic and idempotent.

The file decides every row that it names, with a model's routes and aliases; other rows stay as they
are. Prices in use are never rewritten: a new version follows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import connection, models, transaction

from accounts.models import Plan
from api.catalogue.file import (
    CostTable,
    Document,
    ModelTable,
    PlanTable,
    SharedTable,
    UpstreamTable,
)
from api.catalogue.load_keys import write_keys
from api.catalogue.rate_versions import missing_version, numbered
from api.catalogue.reader import Problems, quoted
from api.models import Model, ModelAlias, Route, RouteCost, Service, Upstream
from billing.models import PlanOffer, PriceVersion, Product, RatesRow
from billing.pricing.money import NANOS_PER_CENT

# Concurrent loads and edits in the admin wait for each other. Readers are not blocked.
LOCK_SQL = """
LOCK TABLE accounts_plan, api_service, api_upstream, api_upstreamkey, api_model, api_modelalias,
  api_route, api_routecost, billing_product, billing_priceversion, billing_planoffer
  IN SHARE ROW EXCLUSIVE MODE
"""
# Keys of the file that are columns of the model, under the same name.
MODEL_COLUMNS = [
    field
    for field in ("title", *SharedTable.__struct_fields__)
    if field not in {"created", "cost", "routes"}
]
UPSTREAM_COLUMNS = [
    field for field in UpstreamTable.__struct_fields__ if field not in {"api_key_env", "keys"}
]
PLAN_COLUMNS = [field for field in PlanTable.__struct_fields__ if field != "offer"]

M = TypeVar("M", bound=models.Model)
# A route by its model's name, its upstream's, and the upstream's name for the model.
RouteKey = tuple[str, str, str]


class CatalogueChanges:
    """The changes of a load: counts of added, changed, unchanged and disabled rows by kind."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.details: list[str] = []

    def note(self, kind: str, what: str, name: str) -> None:
        """Count one row; the unchanged ones are not listed by name."""
        self.counts.setdefault(kind, Counter())[what] += 1
        if what != "unchanged":
            self.details.append(f"{what} {kind}: {name}")

    def is_empty(self) -> bool:
        """Return whether the database already matched the file."""
        return not self.details


def load_document(
    document: Document, *, file: str, name: str, replace: bool = False, dry_run: bool = False
) -> CatalogueChanges:
    """Load a checked file in one transaction and return the changes.

    `file` names it in problems, `name` is kept as the catalogue loaded last. `replace` disables the
    models that the file does not name; `dry_run` takes everything back. Raises
    CatalogueError for what contradicts the database; then nothing is loaded.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK_SQL)
            # Read after the lock: a transaction's now() may lie before what another load wrote.
            cursor.execute("SELECT clock_timestamp()")
            now: datetime = cursor.fetchone()[0]
        loader = _Loader(document, now=now, replace=replace)
        loader.check(file)
        loader.write(name)
        transaction.set_rollback(dry_run)
    return loader.changes


class _Loader:
    """One load, under the lock: first `check` against the database, then `write`."""

    def __init__(self, document: Document, *, now: datetime, replace: bool) -> None:
        self.changes = CatalogueChanges()
        self._document = document
        self._now = now
        self._replace = replace
        self._named = {model.name: model for model in document.models}
        self._models = {model.name: model for model in Model.objects.all()}
        self._products = {
            product.sku: product for product in Product.objects.filter(sku__in=self._named)
        }
        self._versions: dict[int, list[PriceVersion]] = {}
        for version in PriceVersion.objects.all():
            self._versions.setdefault(version.product_id, []).append(version)
        self._costs: dict[RouteKey, list[RouteCost]] = {}
        for cost in RouteCost.objects.select_related("route__model", "route__upstream"):
            route = cost.route
            key = (route.model.name, route.upstream.name, route.upstream_model)
            self._costs.setdefault(key, []).append(cost)
        self._new_prices: dict[str, list[dict[str, Any]]] = {}
        self._new_costs: dict[RouteKey, list[dict[str, Any]]] = {}

    def check(self, file: str) -> None:
        """Raise CatalogueError for names and prices that conflict with the database."""
        problems = Problems(file)
        # A model that is disabled, or will be by this load, has no claim to a name.
        kept = {
            name
            for name, model in self._models.items()
            if model.is_enabled and not self._replace and name not in self._named
        }
        aliases = {
            alias.name: alias.model.name
            for alias in ModelAlias.objects.select_related("model")
            if alias.model.name in kept
        }
        for index, model in enumerate(self._document.models):
            place = f"models[{index}] {quoted(model.name)}"
            if model.name in aliases:
                problems.add(
                    f"{place}: name",
                    f'is an alias of "{aliases[model.name]}", a model that is not in this file',
                )
            for position, alias in enumerate(model.aliases):
                owner = aliases.get(alias, alias if alias in kept else None)
                if owner is not None:
                    problems.add(
                        f"{place}: aliases[{position}]",
                        f'{quoted(alias)} belongs to "{owner}", a model that is not in this file',
                    )
            self._check_product(model, place, problems)
            self._choose_prices(model, place, problems)
            self._choose_costs(model, place, problems)
        problems.raise_if_any()

    def _check_product(self, model: ModelTable, place: str, problems: Problems) -> None:
        """Note a new model whose product's name another model has."""
        product = self._products.get(model.name)
        if product and model.name not in self._models:
            holder = Model.objects.filter(product=product).first()
            if holder:
                problems.add(f"{place}: name", f'is the product of "{holder.name}" already')

    def _choose_prices(self, model: ModelTable, place: str, problems: Problems) -> None:
        """Decide which of the file's prices need a new version; note an impossible start."""
        row, product = self._models.get(model.name), self._products.get(model.name)
        product_id = row.product_id if row else product.pk if product else 0
        tables = [("prices", model.prices), *numbered("next_prices", model.next_prices)]
        versions = self._versions.get(product_id, [])
        self._new_prices[model.name] = self._missing(tables, versions, model, place, problems)

    def _choose_costs(self, model: ModelTable, place: str, problems: Problems) -> None:
        """Decide the same for what each route's upstream charges. Costs not in the file stay."""
        for index, route in enumerate(model.routes):
            key = (model.name, route.upstream, route.upstream_model or model.name)
            at, cost = f"routes[{index}].", route.cost
            first = [(f"{at}cost", cost)] if cost else []
            if cost is None and model.cost is not None:
                first = [("cost", model.cost)]
            tables = [*first, *numbered(f"{at}next_costs", route.next_costs)]
            versions = self._costs.get(key, [])
            self._new_costs[key] = self._missing(tables, versions, model, place, problems)

    def _missing(
        self,
        tables: Sequence[tuple[str, CostTable]],
        versions: Sequence[RatesRow],
        model: ModelTable,
        place: str,
        problems: Problems,
    ) -> list[dict[str, Any]]:
        """Return the columns of the versions to add, and note problems with the others."""
        new = []
        for name, table in tables:
            try:
                columns = missing_version(table, versions, self._now)
            except ValueError as error:
                problems.add(f"{place}: {name}.effective_from", str(error))
                continue
            if columns is not None:
                new.append({**columns, "source": table.source or model.source})
        return new

    def write(self, name: str) -> None:
        """Write the differences. Only the database itself can refuse any of them."""
        self._write_service()
        self._write_plans()
        existing = {upstream.name: upstream for upstream in Upstream.objects.all()}
        former_urls = {name: upstream.base_url for name, upstream in existing.items()}
        tables = self._document.upstreams
        rows = {row.name: {name: getattr(row, name) for name in UPSTREAM_COLUMNS} for row in tables}
        upstreams = self._upsert(Upstream, "upstream", rows, existing)
        write_keys(tables, upstreams, former_urls, self.changes.note)
        self._write_models()
        self._write_prices()
        self._write_aliases()
        self._write_routes({name: upstream.pk for name, upstream in upstreams.items()})
        if not self.changes.is_empty():
            Service.objects.update(catalogue=name[:80])

    def _write_service(self) -> None:
        brand = self._document.service
        columns = {field: getattr(brand, field) for field in brand.__struct_fields__}
        self._upsert(
            Service,
            "service",
            {"1": {"id": 1, **columns}},
            {str(service.pk): service for service in Service.objects.all()},
        )

    def _write_plans(self) -> None:
        rows = {
            row.name: {
                field: value for field in PLAN_COLUMNS if (value := getattr(row, field)) is not None
            }
            for row in self._document.plans
        }
        default = next((name for name, row in rows.items() if row["is_default"]), None)
        former = Plan.objects.filter(is_default=True).exclude(name=default).first()
        if default and former:  # first, since there can be one default only
            former.is_default = False
            former.save(update_fields=["is_default"])
            self.changes.note("plan", "changed", f"{former.name} (is_default)")
        plans = self._upsert(Plan, "plan", rows, {plan.name: plan for plan in Plan.objects.all()})
        self._write_offers(plans)

    def _write_offers(self, plans: Mapping[str, Plan]) -> None:
        existing = {offer.plan.name: offer for offer in PlanOffer.objects.select_related("plan")}
        named = [row.name for row in self._document.plans if row.offer]
        places = _positions(named, existing, key=lambda offer: offer.plan_id)
        offers = {
            row.name: {
                "plan_id": plans[row.name].pk,
                "price_cents": row.offer.price // NANOS_PER_CENT,
                "credit_nanos": row.offer.credit,
                "credit_days": row.offer.credit_days,
                "summary": row.offer.summary,
                "position": places[row.name],
            }
            for row in self._document.plans
            if row.offer
        }
        self._upsert(PlanOffer, "offer", offers, existing)

    def _write_models(self) -> None:
        new = [name for name in self._named if name not in self._models]
        made = [Product(sku=name) for name in new if name not in self._products]
        self._products |= {product.sku: product for product in Product.objects.bulk_create(made)}
        rows: dict[str, dict[str, Any]] = {}
        places = _positions(self._named, self._models, key=lambda model: model.name)
        for name, table in self._named.items():
            rows[name] = {field: getattr(table, field) for field in MODEL_COLUMNS}
            rows[name] |= {"name": name, "position": places[name]}
            existing_row = self._models.get(name)
            is_known = existing_row and int(existing_row.created_at.timestamp()) == table.created
            if table.created is not None and not is_known:
                rows[name]["created_at"] = datetime.fromtimestamp(table.created, UTC)
            if name in new:
                rows[name]["product_id"] = self._products[name].pk
        existing = dict(self._models)
        self._models |= self._upsert(Model, "model", rows, existing)
        for name in existing if self._replace else ():
            if name not in self._named and existing[name].is_enabled:
                existing[name].is_enabled = False
                existing[name].save(update_fields=["is_enabled"])
                self.changes.note("model", "disabled", name)

    def _write_prices(self) -> None:
        versions = []
        for name in self._named:
            rows = self._new_prices[name]
            self.changes.note("price", "added" if rows else "unchanged", name)
            product_id = self._models[name].product_id
            versions += [PriceVersion(product_id=product_id, **columns) for columns in rows]
        PriceVersion.objects.bulk_create(versions)

    def _write_costs(
        self, routes: Mapping[tuple[int, int, str], Route], upstreams: Mapping[str, int]
    ) -> None:
        versions = []
        for key, rows in self._new_costs.items():
            name, upstream, upstream_model = key
            if rows or key in self._costs:
                self.changes.note("cost", "added" if rows else "unchanged", f"{name} at {upstream}")
            route = routes[self._models[name].pk, upstreams[upstream], upstream_model]
            versions += [RouteCost(route=route, **columns) for columns in rows]
        RouteCost.objects.bulk_create(versions)

    def _write_aliases(self) -> None:
        wanted = {
            alias: {"name": alias, "model_id": self._models[name].pk}
            for name, table in self._named.items()
            for alias in table.aliases
        }
        existing = {alias.name: alias for alias in ModelAlias.objects.select_related("model")}
        stale = [
            alias
            for alias in existing.values()
            if alias.name not in wanted
            and (alias.model.name in self._named or alias.name in self._named)
        ]
        for alias in stale:
            alias.delete()
            self.changes.note("alias", "removed", alias.name)
        self._upsert(ModelAlias, "alias", wanted, existing)

    def _write_routes(self, upstreams: dict[str, int]) -> None:
        rows: dict[tuple[int, int, str], dict[str, Any]] = {}
        for name, table in self._named.items():
            for route in table.routes:
                columns = {
                    **{field: getattr(route, field) for field in route.__struct_fields__},
                    "model_id": self._models[name].pk,
                    "upstream_id": upstreams[route.upstream],
                    "upstream_model": route.upstream_model or name,
                }
                for field in ("upstream", "cost", "next_costs"):
                    del columns[field]
                key = (columns["model_id"], columns["upstream_id"], columns["upstream_model"])
                rows[key] = columns
        named = Route.objects.filter(model__name__in=self._named).select_related(
            "model", "upstream"
        )
        existing = {(one.model_id, one.upstream_id, one.upstream_model): one for one in named}
        routes = self._upsert(Route, "route", rows, existing)
        self._write_costs(routes, upstreams)
        for key, row in existing.items():
            if key not in rows and row.is_enabled:
                row.is_enabled = False
                row.save(update_fields=["is_enabled"])
                self.changes.note("route", "disabled", str(row))

    def _upsert(
        self,
        kind: type[M],
        label: str,
        rows: Mapping[Any, Mapping[str, Any]],
        existing: Mapping[Any, M],
    ) -> dict[Any, M]:
        """Add missing rows, save changed ones, and return all of them by key."""
        rows_by_key: dict[Any, M] = {}
        new: list[M] = []
        for key, columns in rows.items():
            rows_by_key[key] = row = existing.get(key) or kind(**columns)
            name = key if isinstance(key, str) else key[-1]
            if key not in existing:
                new.append(row)
                self.changes.note(label, "added", name)
                continue
            changed = [field for field, value in columns.items() if getattr(row, field) != value]
            for field in changed:
                setattr(row, field, columns[field])
            if changed:
                row.save(update_fields=changed)
                self.changes.note(label, "changed", f"{name} ({', '.join(changed)})")
            else:
                self.changes.note(label, "unchanged", name)
        kind._default_manager.bulk_create(new)
        return rows_by_key


def _positions(
    names: Iterable[str], existing: Mapping[str, Any], *, key: Callable[[Any], Any]
) -> dict[str, int]:
    """Return the position of each name: the rows' own positions, if they are in this order already.

    `key` orders rows of equal position, as the export does.
    """
    ordered = list(names)
    rows = [existing.get(name) for name in ordered]
    places = [(row.position, key(row)) for row in rows if row is not None]
    if len(places) == len(rows) and places == sorted(places):
        return {name: row.position for name, row in zip(ordered, rows, strict=True) if row}
    return {name: position for position, name in enumerate(ordered)}
