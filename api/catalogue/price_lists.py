"""Price lists of upstreams: OpenRouter's and LiteLLM's public formats, and CSV.

OpenRouter's is the answer of its `GET /api/v1/models`, in dollars per token as texts; LiteLLM's is
its `model_prices_and_context_window.json`, in dollars per token as numbers. CSV has a header row:
`model`, components in dollars per million tokens (`input`, `output`, `cached_input`, …), and
optionally `title`, `context_tokens` and `max_output_tokens`.
"""

import csv
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from billing.pricing.components import COMPONENTS, LARGEST_RATE_NANOS
from billing.pricing.money import nanos_from_dollars

LONGEST_LIST_BYTES = 8 * 1024 * 1024
LARGEST_TOKENS = 2**31 - 1
_NANOS_PER_MILLION = Decimal(10) ** 15  # of a dollar a token

Nanos = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_RATE_NANOS)]
Tokens = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_TOKENS)]
Name = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*\Z", min_length=1, max_length=120)
]

_OPENROUTER = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cached_input",
    "input_cache_write": "cache_write",
    "internal_reasoning": "reasoning",
}
_LITELLM = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning",
}
_LITELLM_KINDS = {"chat": "chat", "completion": "chat", "embedding": "embedding"}

# The fields of an `Offer`.
Fields = dict[str, Any]
# An entry of a list: its names, for patterns, and a call that reads it or raises ValueError.
Entry = tuple[list[str], Callable[[], Fields]]


class Offer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model as an upstream lists it. `costs` are nano-dollars by component."""

    name: Name
    kind: Literal["chat", "embedding"] = "chat"
    title: Annotated[str, msgspec.Meta(max_length=120)] = ""
    context_tokens: Tokens = 0
    max_output_tokens: Tokens = 0
    input_modalities: list[Literal["text", "image", "file", "audio", "video"]] = msgspec.field(
        default_factory=lambda: ["text"]
    )
    costs: dict[str, Nanos] = {}


class PriceList(NamedTuple):
    """What a list offers, and a line for each entry that was left out, with the reason."""

    offers: list[Offer]
    skipped: list[str]


class PriceListError(ValueError):
    """A text that is no price list; the message says what is wrong."""


def parse_list(text: bytes, only: list[str]) -> PriceList:
    """Return the offers of a list, in its order. Raise PriceListError.

    `only` are patterns such as `openai/*`; none means everything.
    """
    if len(text) > LONGEST_LIST_BYTES:
        raise PriceListError("The list is too long.")
    try:
        content = text.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PriceListError("The list is not UTF-8 text.") from None
    entries = _json_entries(content) if content.lstrip()[:1] in "{[" else _csv_entries(content)
    offers: dict[str, Offer] = {}
    skipped = []
    for names, read in entries:
        if only and not any(fnmatchcase(name, pattern) for name in names for pattern in only):
            continue
        try:
            offer = msgspec.convert(read(), Offer)
        except (ValueError, msgspec.ValidationError) as error:
            skipped.append(f"{names[0]}: {error}")
            continue
        offers.setdefault(offer.name, offer)
    return PriceList(list(offers.values()), skipped)


def decode_offers(text: str) -> list[Offer]:
    """Return the offers in a page's hidden field, as JSON. Raise PriceListError."""
    try:
        offers = msgspec.json.decode(text, type=list[Offer])
    except (msgspec.MsgspecError, UnicodeEncodeError):
        raise PriceListError("Upload the list again.") from None
    if any(name not in COMPONENTS for offer in offers for name in offer.costs):
        raise PriceListError("Upload the list again.")
    return offers


def _json_entries(content: str) -> list[Entry]:
    try:
        decoded = json.loads(content, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise PriceListError(f"The list is not JSON: {error}") from None
    items = decoded.get("data") if isinstance(decoded, dict) else decoded
    if isinstance(items, list):
        return [_entry(_openrouter, str(each.get("id", "?")), each) for each in _dicts(items)]
    if isinstance(decoded, dict):
        named = [(name, each) for name, each in decoded.items() if isinstance(each, dict)]
        return [_entry(_litellm, name, each) for name, each in named if name != "sample_spec"]
    raise PriceListError("The list is neither OpenRouter's nor LiteLLM's.")


def _dicts(items: list[Any]) -> list[dict[str, Any]]:
    return [item for item in items if isinstance(item, dict)]


def _entry(read: Callable[[str, Any], Fields], name: str, entry: dict[str, Any]) -> Entry:
    names = [name]
    if provider := entry.get("litellm_provider"):
        names.append(f"{provider}/{name}")
    return names, partial(read, name, entry)


def _openrouter(name: str, entry: dict[str, Any]) -> Fields:
    prices = _mapping(entry.get("pricing"))
    limits = _mapping(entry.get("top_provider"))
    architecture = _mapping(entry.get("architecture"))
    context = entry.get("context_length") or limits.get("context_length") or 0
    return {
        "name": name,
        "title": str(entry.get("name") or "")[:120],
        "context_tokens": context,
        "max_output_tokens": limits.get("max_completion_tokens") or context,
        "input_modalities": _modalities(architecture.get("input_modalities")),
        "costs": _costs(prices, _OPENROUTER),
    }


def _litellm(name: str, entry: dict[str, Any]) -> Fields:
    mode = entry.get("mode", "chat")
    if mode not in _LITELLM_KINDS:
        raise ValueError(f"{mode} models are not imported")
    context = entry.get("max_input_tokens") or entry.get("max_tokens") or 0
    modalities = ["text", *(["image"] if entry.get("supports_vision") else [])]
    return {
        "name": name,
        "kind": _LITELLM_KINDS[mode],
        "context_tokens": context,
        "max_output_tokens": entry.get("max_output_tokens") or entry.get("max_tokens") or context,
        "input_modalities": modalities,
        "costs": _costs(entry, _LITELLM),
    }


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _modalities(value: object) -> list[str]:
    known = ("text", "image", "file", "audio", "video")
    found = [each for each in value if each in known] if isinstance(value, list) else []
    return found or ["text"]


def _costs(prices: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    """Return dollars per token as nano-dollars per million. Raise ValueError."""
    costs: dict[str, int] = {}
    for key, component in names.items():
        written = prices.get(key)
        if written is None or written == "":
            continue
        try:
            nanos = Decimal(str(written)) * _NANOS_PER_MILLION
        except ArithmeticError:
            raise ValueError(f"{key} is no amount: {written!r}") from None
        if not nanos.is_finite() or nanos < 0:
            raise ValueError("its price varies" if nanos == -_NANOS_PER_MILLION else f"{key} < 0")
        if component in {"cached_input", "cache_write", "reasoning"} and not nanos:
            continue  # lists have 0 for a component without a price of its own
        costs[component] = int(nanos.to_integral_value())
    if not {"input", "output"} & costs.keys():
        raise ValueError("it has no price by tokens")
    return costs


def _csv_entries(content: str) -> list[Entry]:
    reader = csv.DictReader(content.splitlines())
    try:
        heading = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = heading
        rows = list(reader)
    except csv.Error as error:
        raise PriceListError(f"The list is not CSV: {error}.") from None
    known = {"model", "title", "context_tokens", "max_output_tokens", *COMPONENTS}
    if "model" not in heading or (unknown := [name for name in heading if name not in known]):
        what = f"has no column {', '.join(unknown)}" if "model" in heading else "needs a heading"
        raise PriceListError(f"CSV {what}: model, input, output, … in dollars per million.")
    return [_entry(_csv, str(row.get("model") or "?").strip(), row) for row in rows]


def _csv(name: str, row: dict[str, Any]) -> Fields:
    costs = {}
    for component in COMPONENTS:
        if written := (row.get(component) or "").strip().removeprefix("$"):
            costs[component] = nanos_from_dollars(written)
    if not costs:
        raise ValueError("it has no price")
    tokens = {
        column: int(row[column])
        for column in ("context_tokens", "max_output_tokens")
        if (row.get(column) or "").strip()
    }
    return {"name": name, "title": (row.get("title") or "").strip(), "costs": costs, **tokens}
