"""The tables of a catalogue file (TOML), one struct each, and the reader that fills them.

Fields have the names of the columns they fill (`api.models`, `accounts.models.Plan`). msgspec
checks each value by its field's type and `Meta`; for a value that doesn't fit, the problem quotes
the `Meta`'s description.

Why `TableReader` stands around msgspec: `msgspec.convert` and every validator like it (pydantic,
attrs) give either a whole document or errors. A file of 60 models is mended in one go only if all
its problems come at once, so what could be read must still be checked against the rest
(`api/catalogue/check.py`). msgspec moreover stops at the first error, and names a place by index.
"""

import difflib
import types
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Meta

from billing.pricing.components import extra_components
from billing.pricing.money import nanos_from_dollars

T = TypeVar("T", bound=msgspec.Struct)
INVALID: Any = msgspec.UNSET
LARGEST_INTEGER = 2**31 - 1  # PostgreSQL's integer
LARGEST_PRICE_NANOS = 10**15  # $1,000,000 for a million tokens or one piece: a slip of the finger

Word = Annotated[str, Meta(min_length=1, max_length=80)]
Line = Annotated[str, Meta(max_length=200)]
Slug = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]+\Z",
        max_length=50,
        description="a word of letters, digits, _ and -",
    ),
]
ModelName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*\Z",
        max_length=120,
        description="a model's name: letters, digits, and . _ : / @ - after the first of them",
    ),
]
KeyPrefix = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,18}-\Z",
        description="a key prefix: at most 20 letters, digits and -, of which - is the last",
    ),
]
Variable = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?\Z",
        max_length=80,
        description="an environment variable's name",
    ),
]
Refusal = Annotated[
    str,
    Meta(
        pattern=r"^[a-z_]+(\.[a-z0-9_-]+)?(\+[a-z_]+(\.[a-z0-9_-]+)?)*\Z",
        max_length=64,
        description="a parameter (tools), a variant (plugins.web), or several joined by +",
    ),
]
Parameter = Annotated[
    str,
    Meta(
        pattern=r"^[a-z_]+(\.[a-z0-9_-]+)?\Z",
        max_length=64,
        description="a parameter (service_tier) or a variant (plugins.web)",
    ),
]
Country = Annotated[
    str, Meta(pattern=r"^[A-Z]{2}\Z", description="a country's code of two capitals (ISO 3166-1)")
]
Size = Annotated[
    str,
    Meta(pattern=r"^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}\Z", description="a size such as 1280x1280"),
]
Count = Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)]
CountOrNone = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]

Kind = Literal[
    "chat", "embedding", "image", "video", "rerank", "moderation", "speech", "transcription"
]
Modality = Literal["text", "image", "file", "audio", "video", "embeddings"]
Feature = Literal["tools", "json_mode", "structured_outputs", "reasoning", "web_search"]
SamplingParameter = Literal[
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "stop",
    "seed",
    "n",
    "max_tokens",
    "logit_bias",
    "logprobs",
    "top_logprobs",
]
Dialect = Literal["reasoning_content", "reasoning", "think"]


class Dollars(int):
    """Nano-dollars, written in the file as a text of dollars: `"0.70"`."""


def _read_dollars(kind: type, written: object) -> object:
    """Read `Dollars` for msgspec (its `dec_hook`). Raise ValueError for what is no price.

    Only texts, since a TOML float has lost the digits by the time it is read.
    """
    if kind is not Dollars:
        raise TypeError(f"{kind} is not read here.")
    if not isinstance(written, str):
        raise ValueError(f'{written!r} must be a text, such as "0.70"')
    nanos = nanos_from_dollars(written)
    if nanos < 0:
        raise ValueError(f'"{written}" is a negative price')
    if nanos > LARGEST_PRICE_NANOS:
        raise ValueError(f'"{written}" is more than $1,000,000')
    return Dollars(nanos)


class Table(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A table of the file."""


class ServiceTable(Table, kw_only=True):
    """`[service]`: the brand."""

    name: Word
    tagline: Line = ""
    key_prefix: KeyPrefix = "sk-tg-"
    contact_email: Annotated[str, Meta(max_length=254)] = ""


class OfferTable(Table, kw_only=True):
    """`[plans.offer]`: what a plan costs a month, and the credits that each payment grants."""

    price: Dollars
    credit: Dollars = Dollars(0)
    credit_days: Annotated[int, Meta(ge=1, le=3_660)] = 31
    summary: Line = ""


class PlanTable(Table, kw_only=True):
    """`[[plans]]`: limits of a team and, by default, of its keys; what is left out stays."""

    name: Slug
    title: Word
    requests_per_minute: Count
    tokens_per_minute: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    concurrent_requests: Count | None = None
    max_keys: Count | None = None
    is_default: bool = False
    offer: OfferTable | None = None


class UpstreamTable(Table, kw_only=True):
    """`[[upstreams]]`: a provider. `${NAME}` in its base URL is read from the environment."""

    name: Slug
    base_url: str
    api_key_env: Variable = ""
    is_enabled: bool = True
    max_concurrency: Count = 512
    connect_timeout_seconds: Seconds = 5
    first_token_timeout_seconds: Seconds = 120
    idle_timeout_seconds: Seconds = 60
    total_timeout_seconds: Seconds = 900
    drains_on_disconnect: bool = False
    dialect: Annotated[str, Meta(pattern="^[a-z0-9_]{1,40}\\Z")] = "openai_chat"


class CostTable(Table, kw_only=True):
    """`[models.cost]`: what the upstream asks. Tokens per million, the others per piece.

    The keys are the names of priced components; `extra` holds those that have no field here.
    """

    input: Dollars | None = None
    cached_input: Dollars | None = None
    output: Dollars | None = None
    reasoning: Dollars | None = None
    image: Dollars | None = None
    second: Dollars | None = None
    piece: Dollars | None = None
    request: Dollars | None = None
    extra: dict[str, Dollars] = {}


class PricesTable(CostTable, kw_only=True):
    """`[models.prices]`: what customers pay, in force from a moment on, or at once."""

    effective_from: Annotated[datetime, Meta(tz=True)] | None = None
    source: Line = ""


class RouteTable(Table, kw_only=True):
    """`[[models.routes]]`: a way to an answer. `upstream_model` is the model's name if unsaid."""

    upstream: Slug
    upstream_model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    priority: Annotated[int, Meta(ge=0, le=32_767)] = 0
    weight: Count = 1
    reasoning_dialect: Dialect = "reasoning_content"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    takes_stream_options: bool = True
    takes_temperature: bool = True
    takes_developer_role: bool = True
    passes_unknown_fields: bool = False
    is_enabled: bool = True


class SharedTable(Table, kw_only=True):
    """`[model_defaults]`: what each model of the file has unless its own table says otherwise."""

    description: str = ""
    owner: Annotated[str, Meta(max_length=80)] = ""
    kind: Kind = "chat"
    is_enabled: bool = True
    is_coding: bool = False
    created: Annotated[int, Meta(ge=0, le=253_402_300_799)] | None = None
    context_tokens: CountOrNone = 0
    max_output_tokens: CountOrNone = 0
    default_max_tokens: Count | None = None
    default_temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    default_top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_messages: Count | None = None
    bytes_per_token: Annotated[float, Meta(ge=0.5, le=64)] = 4
    tokens_per_image: CountOrNone = 4_096
    input_modalities: list[Modality] = msgspec.field(default_factory=lambda: ["text"])
    output_modalities: list[Modality] = msgspec.field(default_factory=lambda: ["text"])
    features: list[Feature] = []
    sampling_parameters: list[SamplingParameter] = []
    refused_parameters: list[Refusal] = []
    allowed_parameters: list[Parameter] = []
    quantization: Annotated[str, Meta(max_length=16)] = ""
    datacenters: list[Country] = []
    image_sizes: list[Size] = []
    requests_per_minute: Count | None = None
    source: Line = ""
    cost: CostTable = msgspec.field(default_factory=CostTable)
    routes: list[RouteTable] = []


class ModelTable(SharedTable, kw_only=True):
    """`[[models]]`: what customers call by its name."""

    name: ModelName
    title: Annotated[str, Meta(max_length=120)] = ""
    aliases: list[ModelName] = []
    prices: PricesTable


class Document(Table, kw_only=True):
    """The whole file. An upstream's base URL is complete here: its variables are put in."""

    service: ServiceTable
    models: list[ModelTable]
    plans: list[PlanTable] = []
    upstreams: list[UpstreamTable] = []


class CatalogueError(ValueError):
    """A catalogue that can't be loaded: `problems` has a line for each thing wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Problems:
    """The problems of one file, each once, in the order found."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._lines: dict[str, None] = {}

    def add(self, place: str, text: str) -> None:
        """Note what is wrong at a place, such as `models[3] "glm-5.2": prices.input`."""
        self._lines[f"{self._file}: {place}: {text}"] = None

    def raise_if_any(self) -> None:
        """Raise CatalogueError where something was noted."""
        if self._lines:
            raise CatalogueError(list(self._lines))


def quoted(value: object) -> str:
    """Return a value as a problem quotes it: short, texts in double quotes."""
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class TableReader:
    """A reader of the tables of one file, which adds what is wrong with them to `problems`.

    A field that is missing or invalid is INVALID (which counts as false) in the struct that comes
    back, whatever its type says, and so is an item of a list, so that the rules that need several
    fields can still be held against the others, and places keep their indexes.
    """

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def table(
        self,
        kind: type[T],
        raw: object,
        place: str,
        *,
        joint: str = ".",
        shared: tuple[str, Mapping[str, object]] = ("", {}),
    ) -> T | None:
        """Return the struct of a table, or None where there is no table.

        `joint` stands between the place and its keys. `shared` is the place and the content of a
        table that gives the keys which `raw` doesn't.
        """
        if not isinstance(raw, dict):
            self._problems.add(place, f"{quoted(raw)} is no table")
            return None
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        if issubclass(kind, CostTable):
            del fields["extra"]
            extra = [each.name for each in extra_components() if each.name in raw]
            values["extra"] = {
                name: self._value(Dollars, raw[name], f"{place}{joint}{name}") for name in extra
            }
            raw = {key: value for key, value in raw.items() if key not in extra}
        for key in [key for key in raw if key not in fields]:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            self._problems.add(f"{place}{joint}{key}", f"is no key of this table{hint}")
        for name, field in fields.items():
            if name in raw:
                values[name] = self._value(field.type, raw[name], f"{place}{joint}{name}")
            elif name in shared[1]:
                values[name] = self._value(field.type, shared[1][name], f"{shared[0]}.{name}")
            elif field.required:
                self._problems.add(f"{place}{joint}{name}", "is missing")
                values[name] = INVALID
        return kind(**values)

    def _value(self, kind: Any, raw: object, place: str) -> Any:
        """Return the value of a field, or INVALID."""
        if get_origin(kind) in {Union, types.UnionType}:  # TOML has no null, so it is the other
            kind = next(one for one in get_args(kind) if one is not type(None))
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            table = self.table(kind, raw, place)
            return INVALID if table is None else table
        if get_origin(kind) is list:
            return self._list(get_args(kind)[0], raw, place)
        if isinstance(raw, str) and "\0" in raw:  # PostgreSQL holds no such text
            self._problems.add(place, "holds a NUL character")
            return INVALID
        try:
            return msgspec.convert(raw, kind, dec_hook=_read_dollars)
        except msgspec.ValidationError as error:
            self._problems.add(place, _explained(kind, raw, error))
            return INVALID

    def _list(self, kind: Any, raw: object, place: str) -> Any:
        """Return the list, with its invalid items marked as such, or INVALID if it is none."""
        if not isinstance(raw, list):
            self._problems.add(place, f"{quoted(raw)} is no list")
            return INVALID
        items: list[Any] = []
        for index, one in enumerate(raw):
            item = self._value(kind, one, f"{place}[{index}]")
            if isinstance(item, str) and item in items:
                self._problems.add(f"{place}[{index}]", f"{quoted(item)} is there twice")
                item = INVALID
            items.append(item)
        return items


def _explained(kind: Any, raw: object, error: msgspec.ValidationError) -> str:
    """Return what is wrong with a value, in terms of the file rather than of Python."""
    if isinstance(raw, str) and get_origin(kind) is Literal:
        return f"{quoted(raw)} is none of {', '.join(get_args(kind))}"
    if isinstance(raw, str) and get_origin(kind) is Annotated:
        described = cast(msgspec.Meta, get_args(kind)[1]).description
        if described:
            return f"{quoted(raw)} is not {described}"
    message = str(error)
    return message[0].lower() + message[1:]
