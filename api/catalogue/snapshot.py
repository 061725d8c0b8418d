"""The catalogue as the relay holds it: an immutable snapshot in memory, read in one statement.

A snapshot belongs to one version of the catalogue. The ledger's verdicts carry the version that is
current in the database; a process that sees another one than its snapshot's asks
`Catalogue.refresh_to` (`api/catalogue/current.py`) for a new one. No ORM: the relay's way has no
thread hops.
"""

from bisect import bisect_right
from collections.abc import Set
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import psycopg
from django.db import connection as django_connection
from msgspec.structs import force_setattr

from api.catalogue.listing import facts_of, pricing_of
from api.catalogue.query import SNAPSHOT_SQL
from billing.pricing.contracts import Contract, prices_under
from billing.pricing.margins import is_below_cost
from billing.pricing.rates import Costs, DatedRates, Prices

Dated = TypeVar("Dated", bound=DatedRates)
_ROUTE_BITS = 32


def parts_of_route_key(route_key: int) -> tuple[int, int | None]:
    """Return the ids of the route and the key (`RouteEntry.route_key`); None without a key."""
    return route_key & ((1 << _ROUTE_BITS) - 1), route_key >> _ROUTE_BITS or None


class ServiceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The service's name and state. The defaults are the row's."""

    name: str = "Tollgate"
    tagline: str = ""
    key_prefix: str = "sk-tg-"
    contact_email: str = ""
    is_open: bool = True
    refuses_below_cost: bool = False


class UpstreamEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A provider that is switched on, with one of its keys, which is still encrypted.

    `base_url` ends without a slash. `dialect` is one of `api.dialects.DIALECTS`. `key_id` is 0 for
    one without a key; `has_other_keys` says whether there is an entry for another key of it.
    `max_concurrency` is the upstream's limit, and the other limits are the key's.
    """

    id: int
    name: str
    base_url: str
    api_key_env: str
    max_concurrency: int
    connect_timeout_seconds: float
    first_token_timeout_seconds: float
    idle_timeout_seconds: float
    total_timeout_seconds: float
    drains_on_disconnect: bool
    dialect: str = "openai_chat"
    encrypted_key: str = ""
    key_id: int = 0
    key_name: str = ""
    key_weight: int = 1
    key_max_concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    has_other_keys: bool = False
    has_rates: bool = False

    def __post_init__(self) -> None:
        """Work out whether the key has any limit per minute."""
        limits = (self.requests_per_minute, self.tokens_per_minute)
        force_setattr(self, "has_rates", limits != (None, None))


class RouteEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One way to an answer: a route, by one of its upstream's keys.

    `route_key` is the id of the two together: the route's in the lower 32 bits, then the key's.
    `reasoning_dialect` is one of `Route.ReasoningDialect`, and `max_tokens_field` one of
    `Route.MaxTokensField`. The `takes_…` say what the upstream knows of a request, and
    `passes_unknown_fields` whether it gets fields that we don't know. One that
    `streams_plain_answers` is asked for a stream where the client wants a plain answer.
    `charges_broken_streams` is one of `Route.BrokenStreams`. `costs` is newest first and includes
    future versions. From `drains_at` on, the route, its upstream or its key gets no new calls.
    """

    id: int
    upstream: UpstreamEntry
    upstream_model: str
    priority: int
    weight: int
    reasoning_dialect: str
    max_tokens_field: str = "max_tokens"
    takes_stream_options: bool = True
    takes_temperature: bool = True
    takes_developer_role: bool = True
    passes_unknown_fields: bool = False
    streams_plain_answers: bool = False
    charges_broken_streams: str = "reported"
    charges_empty_answers: bool = False
    costs: tuple[Costs, ...] = ()
    drains_at: datetime | None = None
    route_key: int = 0

    def __post_init__(self) -> None:
        """Work out the id of the route and the key together."""
        force_setattr(self, "route_key", self.id | self.upstream.key_id << _ROUTE_BITS)

    def costs_at(self, now: datetime) -> Costs | None:
        """Return what the upstream charges us at `now` (aware), or None where it is unknown."""
        return _in_force(self.costs, now)


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is switched on: its row, its routes in the order to try, its prices.

    `prices` is newest first and holds versions to come. `refusals` are the row's
    `refused_parameters` taken apart; see `refused_by`. Upstreams bill a model that
    `hides_reasoning` for output that doesn't come as text. `sold` remembers what `without_losses`
    returned, by the versions of the price and of the routes' costs. `drains` is when routes drain,
    the first one first, and `serving` what `in_service` returned, by how many have drained.
    """

    id: int
    product_id: int = 0
    name: str
    title: str
    description: str
    owner: str
    kind: str
    is_coding: bool
    created: int
    context_tokens: int
    max_output_tokens: int
    default_max_tokens: int | None
    default_temperature: float | None
    default_top_p: float | None
    max_messages: int | None
    bytes_per_token: float
    tokens_per_image: int
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    supported_features: tuple[str, ...]
    sampling_parameters: tuple[str, ...]
    refused_parameters: tuple[str, ...]
    quantization: str
    datacenters: tuple[str, ...]
    image_sizes: tuple[str, ...]
    requests_per_minute: int | None
    aliases: tuple[str, ...]
    routes: tuple[RouteEntry, ...]
    prices: tuple[Prices, ...]
    allowed_parameters: tuple[str, ...] = ()
    hides_reasoning: bool = False
    features: frozenset[str] = frozenset()
    refusals: tuple[frozenset[str], ...] = ()
    facts: dict[str, Any] = {}
    pricings: tuple[dict[str, Any], ...] = ()
    sold: dict[tuple[int, ...], "ModelEntry"] = {}
    drains: tuple[datetime, ...] = ()
    serving: dict[int, "ModelEntry"] = {}

    def __post_init__(self) -> None:
        """Work out once what every request and every models list needs of the row."""
        force_setattr(self, "features", frozenset(self.supported_features))
        force_setattr(
            self, "refusals", tuple(frozenset(rule.split("+")) for rule in self.refused_parameters)
        )
        if any(costs.service_tiers for route in self.routes for costs in route.costs):
            for prices in self.prices:  # the tier that an upstream reports matters to its cost
                force_setattr(prices, "has_service_tiers", True)
                for variant in prices.variants.values():
                    force_setattr(variant, "has_service_tiers", True)
        force_setattr(self, "facts", facts_of(self))
        force_setattr(self, "pricings", tuple(pricing_of(prices) for prices in self.prices))
        force_setattr(self, "sold", {})
        drains = sorted(route.drains_at for route in self.routes if route.drains_at is not None)
        force_setattr(self, "drains", tuple(drains))
        force_setattr(self, "serving", {})

    def price_at(self, now: datetime) -> Prices | None:
        """Return the prices in force at `now` (aware), or None: then the model is not sold."""
        return _in_force(self.prices, now)

    def in_service(self, now: datetime) -> "ModelEntry":
        """Return the model with only those routes that are not drained at `now` (aware)."""
        drained = bisect_right(self.drains, now)
        if not drained:
            return self
        if drained not in self.serving:
            routes = [r for r in self.routes if r.drains_at is None or r.drains_at > now]
            self.serving[drained] = msgspec.structs.replace(self, routes=tuple(routes))
        return self.serving[drained]

    def without_losses(self, prices: Prices, now: datetime) -> "ModelEntry":
        """Return the model with only those routes that charge us no more than customers pay."""
        costs = [route.costs_at(now) for route in self.routes]
        versions = (
            prices.version_id,
            prices.contract,
            *(each.version_id if each else 0 for each in costs),
        )
        sold = self.sold.get(versions)
        if sold is None:
            routes = tuple(
                route
                for route, each in zip(self.routes, costs, strict=True)
                if each is None or not is_below_cost(prices, each)
            )
            is_whole = len(routes) == len(self.routes)
            sold = self if is_whole else msgspec.structs.replace(self, routes=routes)
            self.sold[versions] = sold
        return sold

    def refused_by(self, used: Set[str]) -> str | None:
        """Return the first of `refused_parameters` that forbids what a request shows, or None.

        A request shows its parameters by name (`tools`), and by `name.value` the variants of those
        that have them: `response_format.json_schema`, `plugins.web`, `thinking.enabled`. A rule
        forbids the request that shows all of its parts.
        """
        for rule, parts in zip(self.refused_parameters, self.refusals, strict=True):
            if parts <= used:
                return rule
        return None

    def allows(self, parameter: str) -> bool:
        """Return whether the row allows a parameter that can change the upstream's bill.

        `plugins` allows every plugin, and `plugins.web` one of them.
        """
        allowed = self.allowed_parameters
        if parameter in allowed or parameter.partition(".")[0] in allowed:
            return True
        return any(name.startswith(f"{parameter}.") for name in allowed)

    def listing(self, now: datetime, name: str | None = None) -> dict[str, Any]:
        """Return the model's object in the models list, a new dict, with the prices of `now`.

        `name` is the alias it was asked for by, which it then answers to as its id.
        """
        listing = {**self.facts, "id": name or self.name, "pricing": {}}
        for prices, pricing in zip(self.prices, self.pricings, strict=True):
            if prices.effective_from <= now:
                listing["pricing"] = pricing
                break
        return listing

    def chat_listing(self, now: datetime) -> dict[str, Any]:
        """Return its object in `/v1/chat/models` (WeryAI): the key and the output limits."""
        return {
            **self.listing(now),
            "key": self.name,
            "max_output_tokens": self.max_output_tokens,
            "default_max_tokens": self.default_max_tokens,
            "max_messages": self.max_messages,
            "supports_web_search": "web_search" in self.features,
        }


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole catalogue at one version. `models` is by public name and by alias.

    `contracts` are those of all teams; `teams` remembers the catalogues of teams that have some.
    """

    version: int
    service: ServiceEntry
    ordered: tuple[ModelEntry, ...]
    contracts: tuple[Contract, ...] = ()
    models: dict[str, ModelEntry] = {}
    teams: dict[int, "TeamSnapshot"] = {}

    def __post_init__(self) -> None:
        """Index the models; an alias never hides a model's own name."""
        by_name = {alias: entry for entry in self.ordered for alias in entry.aliases}
        by_name.update((entry.name, entry) for entry in self.ordered)
        force_setattr(self, "models", by_name)
        own: dict[int, list[Contract]] = {}
        for contract in self.contracts:
            own.setdefault(contract.team_id, []).append(contract)
        force_setattr(self, "teams", {team: _of_team(self, each) for team, each in own.items()})

    def for_team(self, team_id: int) -> "Snapshot":
        """Return the catalogue at a team's prices."""
        return self.teams.get(team_id, self)

    def find(self, name: str) -> ModelEntry | None:
        """Return the model of that public name or alias, or None."""
        return self.models.get(name)

    def find_priced(self, name: str, now: datetime) -> tuple[ModelEntry | None, Prices | None]:
        """Return the model of that public name or alias, and its prices in force at `now` (aware).

        Each is None where there is none; a model without prices is not sold.
        """
        model = self.find(name)
        return model, model.price_at(now) if model is not None else None

    def public_models(self, *, coding_only: bool = False, kind: str = "") -> list[ModelEntry]:
        """Return the models by their place in the catalogue; aliases are not listed apart."""
        return [
            entry
            for entry in self.ordered
            if (entry.is_coding or not coding_only) and kind in {"", entry.kind}
        ]


class TeamSnapshot(Snapshot, frozen=True, kw_only=True):
    """The catalogue at the contract prices of one team, whose `contracts` these are.

    A model's prices are computed when it is first asked for.
    """

    own: dict[str, ModelEntry] = {}

    def __post_init__(self) -> None:
        """Keep what the list's catalogue has indexed."""

    def for_team(self, team_id: int) -> Snapshot:
        """Return the same catalogue: it is a team's already."""
        return self

    def find(self, name: str) -> ModelEntry | None:
        """Return the model of that public name or alias at the team's prices, or None."""
        listed = self.models.get(name)
        if listed is None:
            return None
        entry = self.own.get(listed.name)
        if entry is None:
            prices = prices_under(self.contracts, listed.product_id, listed.prices)
            is_same = prices == listed.prices
            entry = listed if is_same else msgspec.structs.replace(listed, prices=prices)
            self.own[listed.name] = entry
        return entry

    def public_models(self, *, coding_only: bool = False, kind: str = "") -> list[ModelEntry]:
        """Return the models by their place in the catalogue, at the team's prices."""
        listed = super().public_models(coding_only=coding_only, kind=kind)
        return [entry for each in listed if (entry := self.find(each.name)) is not None]


def _of_team(snapshot: Snapshot, contracts: list[Contract]) -> TeamSnapshot:
    return TeamSnapshot(
        version=snapshot.version,
        service=snapshot.service,
        ordered=snapshot.ordered,
        models=snapshot.models,
        contracts=tuple(contracts),
    )


def _in_force(versions: tuple[Dated, ...], now: datetime) -> Dated | None:
    """Return the version in force at `now` (aware), or None. The newest version comes first."""
    for version in versions:
        if version.effective_from <= now:
            return version
    return None


EMPTY = Snapshot(version=0, service=ServiceEntry(), ordered=())


_DECODER = msgspec.json.Decoder(Snapshot)


def snapshot_from_row(row: tuple[Any, ...] | None) -> Snapshot:
    """Return the snapshot in the one row that `SNAPSHOT_SQL` answers."""
    if row is None:
        raise ValueError("The catalogue's query answered no row.")
    return _DECODER.decode(row[0])


async def load(connection: psycopg.AsyncConnection[Any]) -> Snapshot:
    """Return the catalogue that the database holds now.

    One statement, hence one point in time: the version is that of the rows beside it. Raises
    psycopg.Error.
    """
    cursor = await connection.execute(SNAPSHOT_SQL)
    return snapshot_from_row(await cursor.fetchone())


def load_snapshot() -> Snapshot:
    """Return the same through Django's connection, for pages, commands and tests."""
    with django_connection.cursor() as cursor:
        cursor.execute(SNAPSHOT_SQL)
        return snapshot_from_row(cursor.fetchone())
