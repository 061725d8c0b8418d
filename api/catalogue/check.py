"""The checks of a catalogue file that need no database.

Every problem is reported with its place, such as
`weatmood.toml: models[1] "glm-5.2": prices.input: "-1" is a negative price` (indexes from 0).
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from api.catalogue.file import (
    INVALID,
    CostTable,
    Document,
    ModelTable,
    OfferTable,
    PlanTable,
    ServiceTable,
    SharedTable,
    UpstreamTable,
)
from api.catalogue.rate_versions import numbered
from api.catalogue.reader import CatalogueError, Problems, TableReader, quoted
from api.models import validate_base_url
from billing.models.plans import MIN_PRICE_CENTS
from billing.pricing.components import COMPONENTS
from billing.pricing.money import NANOS_PER_CENT
from billing.pricing.rates import check_service_tiers

CATALOGUES = Path(__file__).parents[1] / "catalogues"
LONGEST_FILE_BYTES = 4 * 1024 * 1024
SECTIONS = ("service", "plans", "upstreams", "model_defaults", "models")

Row = TypeVar("Row", bound=msgspec.Struct)
Rows = list[tuple[str, Row]]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What models of text are sold by: each must have a price, which may be 0 on purpose.
TEXT_PRICED_BY = {"chat": ("input", "output"), "embedding": ("input",)}
# What a kind of model must be sold by: of the other kinds, one of these at least.
PRICED_BY = {
    **TEXT_PRICED_BY,
    "image": ("image",),
    "video": ("piece", "second"),
    "rerank": ("search_unit", "input", "request"),
    "moderation": ("request", "input"),
    "speech": ("character", "input", "request"),
    "transcription": ("audio_second", "input"),
}


def find_catalogue(name: str) -> Path:
    """Return the file of a shipped catalogue (`weatmood`), or the path itself (`my/own.toml`).

    Raise CatalogueError where there is no such file.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = CATALOGUES / f"{name}.toml"
        shipped = ", ".join(sorted(file.stem for file in CATALOGUES.glob("*.toml")))
        if path.parent != CATALOGUES or not path.is_file():
            raise CatalogueError([f"{name}: is not a catalogue; there are {shipped}"])
    if not path.is_file():
        raise CatalogueError([f"{path}: is not a file"])
    return path


def read_catalogue(path: Path, variable: Callable[[str], str]) -> Document:
    """Return the file's content, checked; see `read_text`. Raise CatalogueError."""
    try:
        with path.open("rb") as file:
            text = file.read(LONGEST_FILE_BYTES + 1)
    except OSError as error:
        raise CatalogueError([f"{path.name}: can't be read: {error}"]) from None
    return read_text(text, path.name, variable)


def read_text(text: bytes, name: str, variable: Callable[[str], str]) -> Document:
    """Return the content of a file's text, checked, with environment variables put in.

    `variable` returns an environment variable's text, empty where it is unset. Raise
    CatalogueError with every problem.
    """
    problems = Problems(name)
    raw = _parsed(text, name)
    for key in [key for key in raw if key not in SECTIONS]:
        problems.add(key, f"is not a section; there are {', '.join(SECTIONS)}")
    reader = TableReader(problems)
    service = reader.table(ServiceTable, raw.get("service", {}), "service")
    shared = raw.get("model_defaults", {})
    if reader.table(SharedTable, shared, "model_defaults") is None:
        shared = {}
    plans = _rows(reader, problems, PlanTable, raw, "plans")
    upstreams = _rows(reader, problems, UpstreamTable, raw, "upstreams")
    models = _rows(reader, problems, ModelTable, raw, "models", shared=shared)
    if service is not None:
        _check_service(service, problems)
    _check_plans(plans, problems)
    for place, upstream in upstreams:
        _check_upstream(upstream, place, variable, problems)
    _check_names(models, problems)
    names = {upstream.name for _, upstream in upstreams}
    for place, model in models:
        _check_model(model, place, problems)
        _check_prices(model, place, problems)
        _check_tiers(model, place, problems)
        _check_routes(model, place, names, problems)
    problems.raise_if_any()
    assert service is not None  # noqa: S101 (else a problem was raised above)
    return Document(
        service=service,
        plans=[plan for _, plan in plans],
        upstreams=[upstream for _, upstream in upstreams],
        models=[model for _, model in models],
    )


def _parsed(text: bytes, name: str) -> dict[str, Any]:
    """Return a file's text as TOML. Raise CatalogueError where it is none."""
    try:
        if len(text) > LONGEST_FILE_BYTES:
            raise ValueError(f"is longer than {LONGEST_FILE_BYTES} bytes")
        return tomllib.loads(text.decode())
    except RecursionError:
        raise CatalogueError([f"{name}: is nested too deeply"]) from None
    except ValueError as error:  # TOMLDecodeError names the line and the column
        raise CatalogueError([f"{name}: is not valid TOML: {error}"]) from None


def _rows(
    reader: TableReader,
    problems: Problems,
    kind: type[Row],
    raw: Mapping[str, Any],
    section: str,
    *,
    shared: Mapping[str, object] | None = None,
) -> Rows[Row]:
    """Return the tables of a section, each with its place."""
    tables = raw.get(section, [])
    if not isinstance(tables, list):
        problems.add(section, f"must be tables, each under [[{section}]]")
        return []
    rows: Rows[Row] = []
    for index, table in enumerate(tables):
        name = table.get("name") if isinstance(table, dict) else None
        place = f"{section}[{index}]" + (f" {quoted(name)}" if isinstance(name, str) else "")
        row = reader.table(kind, table, place, joint=": ", shared=("model_defaults", shared or {}))
        if row is not None:
            rows.append((place, row))
    return rows


def _check_service(service: ServiceTable, problems: Problems) -> None:
    """Add a problem if the contact is not an email address."""
    if service.contact_email:
        try:
            validate_email(service.contact_email)
        except ValidationError:
            problems.add(
                "service.contact_email", f"{quoted(service.contact_email)} is not an email address"
            )


def _check_plans(plans: Rows[PlanTable], problems: Problems) -> None:
    """Note names given twice, and what is not exactly one default."""
    _check_once([(place, plan.name) for place, plan in plans], problems)
    defaults = [place for place, plan in plans if plan.is_default]
    for place in defaults[1:]:
        problems.add(f"{place}: is_default", f"{defaults[0]} is the default already")
    for place, plan in plans:
        if plan.offer:
            _check_offer(plan.offer, f"{place}: offer", problems)
            if plan.is_default:
                problems.add(f"{place}: offer", "the default plan is every team's: it has no price")
    if plans and not defaults:
        problems.add("plans", "none is the default (is_default = true), on which new teams start")


def _check_offer(offer: OfferTable, place: str, problems: Problems) -> None:
    """Note a price that no card can be charged."""
    if offer.price is INVALID:
        return
    if offer.price % NANOS_PER_CENT:
        problems.add(f"{place}.price", "is not a whole number of cents")
    elif offer.price < MIN_PRICE_CENTS * NANOS_PER_CENT:
        problems.add(f"{place}.price", f"is less than {MIN_PRICE_CENTS} cents, Stripe's least")


def _check_once(names: list[tuple[str, str]], problems: Problems) -> None:
    """Note each name that an earlier place has."""
    first: dict[str, str] = {}
    for place, name in names:
        if name in first:
            problems.add(f"{place}: name", f"{quoted(name)} is the name of {first[name]} already")
        elif name is not INVALID:
            first[name] = place


def _check_upstream(
    upstream: UpstreamTable, place: str, variable: Callable[[str], str], problems: Problems
) -> None:
    """Put the environment into the base URL and note what is wrong with it, or with the keys."""
    keys = [(index, key) for index, key in enumerate(upstream.keys or []) if key is not INVALID]
    _check_once([(f"{place}: keys[{index}]", key.name) for index, key in keys], problems)
    if keys and upstream.api_key_env:
        problems.add(f"{place}: api_key_env", "belongs into the table of one of the keys")
    if upstream.base_url is INVALID:
        return
    place = f"{place}: base_url"
    values = {name: variable(name) for name in _VARIABLE.findall(upstream.base_url)}
    for name in [name for name, value in values.items() if not value]:
        problems.add(place, f"the environment variable {name} is not set")
    if not all(values.values()):
        return
    # An address in the environment may well end with a slash, and a path follows it here.
    upstream.base_url = _VARIABLE.sub(lambda found: values[found[1]].rstrip("/"), upstream.base_url)
    try:
        validate_base_url(upstream.base_url)
    except ValidationError as error:
        problems.add(place, error.messages[0])


def _check_names(models: Rows[ModelTable], problems: Problems) -> None:
    """Note public names that two models claim, be it as their name or as an alias."""
    if not models:
        problems.add("models", "there is none")
    _check_once([(place, model.name) for place, model in models], problems)
    taken = {model.name: f"{place}'s name" for place, model in reversed(models)}
    for place, model in models:
        for index, alias in enumerate(model.aliases or []):
            if alias is INVALID:
                continue
            if alias in taken:
                problems.add(f"{place}: aliases[{index}]", f"{quoted(alias)} is {taken[alias]}")
            else:
                taken[alias] = f"{place}'s alias"


def _check_model(model: ModelTable, place: str, problems: Problems) -> None:
    """Note figures that contradict each other."""
    most, context, default = (
        model.max_output_tokens,
        model.context_tokens,
        model.default_max_tokens,
    )
    needed = {"chat": ("context_tokens", "max_output_tokens"), "embedding": ("context_tokens",)}
    if model.prices is not INVALID and model.prices.input:
        # They bound the tokens of sound.
        needed["transcription"] = ("context_tokens", "max_output_tokens")
    for name in needed.get(model.kind, ()):
        if getattr(model, name) == 0:
            article = "an" if model.kind == "embedding" else "a"
            problems.add(f"{place}: {name}", f"is missing; {article} {model.kind} model needs it")
    if most and context and most > context:
        problems.add(
            f"{place}: max_output_tokens", f"{most} is more than the context of {context} tokens"
        )
    if most and default and default > most:
        problems.add(
            f"{place}: default_max_tokens", f"{default} is more than max_output_tokens, {most}"
        )
    for name, modalities in (
        ("input_modalities", model.input_modalities),
        ("output_modalities", model.output_modalities),
    ):
        if modalities == []:
            problems.add(f"{place}: {name}", "is empty")


def _check_prices(model: ModelTable, place: str, problems: Problems) -> None:
    """Note a model without the prices it must be sold by. Zero on purpose is a price."""
    if model.prices is INVALID or model.kind is INVALID:
        return
    needed = PRICED_BY[model.kind]
    rates = {**msgspec.structs.asdict(model.prices), **model.prices.extra}
    missing = [name for name in needed if rates.get(name) is None]
    if model.kind in TEXT_PRICED_BY:
        for name in missing:
            problems.add(f"{place}: prices.{name}", 'is missing; what is free costs "0"')
    elif len(missing) == len(needed):
        problems.add(f"{place}: prices", f"needs a price by {' or by '.join(needed)}")
    elif not any(rates.get(name) for name in needed):
        # What neither charges anything nor gives an extra rate is not sold (`check_priced`).
        for name in [name for name in missing if not COMPONENTS[name].field]:
            problems.add(f"{place}: prices.{name}", 'is missing; what is free costs "0"')


def _check_tiers(model: ModelTable, place: str, problems: Problems) -> None:
    """Add problems of tiers: duplicates, tiers without a price, and factors that aren't exact."""
    for name, table in _rate_tables(model):
        if name.endswith("]") and table.effective_from is None:
            problems.add(f"{place}: {name}.effective_from", "is missing")
        seen: set[int] = set()
        for index, tier in enumerate(table.context_tiers or []):
            if tier is INVALID or tier.above_input_tokens is INVALID:
                continue
            at = f"{place}: {name}.context_tiers[{index}]"
            if tier.above_input_tokens in seen:
                problems.add(at, f"{tier.above_input_tokens} tokens are another tier's already")
            seen.add(tier.above_input_tokens)
            rates = {**msgspec.structs.asdict(tier), **tier.extra}
            if all(rates.get(component) is None for component in COMPONENTS):
                problems.add(at, "has no price")
        for tier_name, factor in (table.service_tiers or {}).items():
            if INVALID not in {table.factor, factor}:
                try:
                    check_service_tiers(table.factor, {tier_name: int(factor)})
                except ValueError as error:
                    problems.add(f"{place}: {name}.service_tiers.{tier_name}", str(error))


def _rate_tables(model: ModelTable) -> Iterator[tuple[str, CostTable]]:
    """Yield a model's tables of prices and costs, each with its place."""
    found: list[tuple[str, Any]] = [("prices", model.prices), ("cost", model.cost)]
    found += numbered("next_prices", model.next_prices or [])
    for index, route in enumerate(model.routes or []):
        if route is not INVALID:
            found.append((f"routes[{index}].cost", route.cost))
            found += numbered(f"routes[{index}].next_costs", route.next_costs or [])
    yield from ((name, table) for name, table in found if table)


def _check_routes(model: ModelTable, place: str, upstreams: set[str], problems: Problems) -> None:
    """Note a model without a route, and routes that lead nowhere or are there twice."""
    if model.routes == []:
        problems.add(f"{place}: routes", "is missing; a model needs one at least")
    seen: set[tuple[str, str]] = set()
    for index, route in enumerate(model.routes or []):
        if route is INVALID or INVALID in {route.upstream, route.upstream_model}:
            continue
        if route.upstream not in upstreams:
            problems.add(
                f"{place}: routes[{index}].upstream",
                f"there is no upstream {quoted(route.upstream)}",
            )
        route.upstream_model = route.upstream_model or model.name
        if (route.upstream, route.upstream_model) in seen:
            problems.add(f"{place}: routes[{index}]", "is there twice")
        seen.add((route.upstream, route.upstream_model))
