"""The tables of a catalogue file (TOML), one struct each; `reader` fills them.

Fields have the names of the columns they fill (`api.models`, `accounts.models.Plan`). msgspec
checks each value by its field's type and `Meta`; for a value that doesn't fit, the problem quotes
the `Meta`'s description.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.upstream_keys import VARIABLE_PREFIX
from billing.pricing.charge import ONE
from billing.pricing.money import factor_from_text, nanos_from_dollars
from billing.pricing.rates import check_factor

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
        pattern=rf"^({VARIABLE_PREFIX}[A-Za-z0-9_]+)?\Z",
        max_length=80,
        description=f"the name of an environment variable that begins with {VARIABLE_PREFIX}",
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


class Factor(int):
    """A factor in millionths, written in the file as a decimal string: `"1.75"`."""


def read_figure(kind: type, written: object) -> object:
    """Read `Dollars` and `Factor` for msgspec (its `dec_hook`). Raise ValueError for a bad one.

    Only texts, since a TOML float has lost the digits by the time it is read.
    """
    if kind is Factor:
        return _read_factor(written)
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


def _read_factor(written: object) -> Factor:
    if not isinstance(written, str):
        raise ValueError(f'{written!r} must be a text, such as "1.75"')
    millionths = factor_from_text(written)
    check_factor(millionths)
    return Factor(millionths)


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
    """`[[plans]]`: limits of a team and, by default, of its keys; omitted ones stay unchanged."""

    name: Slug
    title: Word
    requests_per_minute: Count
    tokens_per_minute: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    concurrent_requests: Count | None = None
    max_keys: Count | None = None
    is_default: bool = False
    offer: OfferTable | None = None


class UpstreamKeyTable(Table, kw_only=True):
    """`[[upstreams.keys]]`: a key's limits. The key is typed in the admin, or in a variable."""

    name: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_-]+\Z",
            max_length=40,
            description="a word of letters, digits, _ and -",
        ),
    ]
    api_key_env: Variable = ""
    is_enabled: bool = True
    weight: Count = 1
    max_concurrency: Count | None = None
    requests_per_minute: Count | None = None
    tokens_per_minute: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None


class UpstreamTable(Table, kw_only=True):
    """`[[upstreams]]`: a provider. `${NAME}` in its base URL is read from the environment.

    `api_key_env` is short for `keys` with one named `default`.
    """

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
    keys: list[UpstreamKeyTable] = []


class RatesTable(Table, kw_only=True):
    """What components cost: tokens per million, the others per piece.

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


class ContextTierTable(RatesTable, kw_only=True):
    """`[[models.prices.context_tiers]]`: rates of a whole request above an input length."""

    above_input_tokens: Count


class CostTable(RatesTable, kw_only=True):
    """`[models.cost]`: what upstreams charge, in force from a moment on, or at once."""

    factor: Factor = Factor(ONE)
    context_tiers: list[ContextTierTable] = []
    service_tiers: dict[str, Factor] = {}
    effective_from: Annotated[datetime, Meta(tz=True)] | None = None
    source: Line = ""


class PricesTable(CostTable, kw_only=True):
    """`[models.prices]`: what customers pay, in force from a moment on, or at once."""


class RouteTable(Table, kw_only=True):
    """`[[models.routes]]`: a way to an answer. `upstream_model` is the model's name by default.

    `cost` is what this upstream charges; a route without one costs what `[models.cost]` says.
    `next_costs` apply from future moments on.
    """

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
    streams_plain_answers: bool = False
    charges_broken_streams: Literal["reported", "always", "never"] = "reported"
    charges_empty_answers: bool = False
    is_enabled: bool = True
    cost: CostTable | None = None
    next_costs: list[CostTable] = []


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
    hides_reasoning: bool = False
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
    cost: CostTable | None = None
    routes: list[RouteTable] = []


class ModelTable(SharedTable, kw_only=True):
    """`[[models]]`: what customers call by its name. `next_prices` apply from future moments on."""

    name: ModelName
    title: Annotated[str, Meta(max_length=120)] = ""
    aliases: list[ModelName] = []
    prices: PricesTable
    next_prices: list[PricesTable] = []


class Document(Table, kw_only=True):
    """The whole file. An upstream's base URL is complete here: its variables are put in."""

    service: ServiceTable
    models: list[ModelTable]
    plans: list[PlanTable] = []
    upstreams: list[UpstreamTable] = []
