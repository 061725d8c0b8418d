"""`POST …/quote` below each paid endpoint: what the same request would hold and cost.

It runs the code that quotes the request itself, with the team's contract prices, and asks neither
the ledger for a hold nor an upstream. What is likely is estimated from the key's own history.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, NamedTuple

import msgspec
from django.db.models import F, Sum
from msgspec import Meta, Struct

from accounts.models import ApiKey
from api import errors
from api.dialects.base import Dialect
from api.gateway.admission import Quoter, current_catalogue, parsed_body, quoted
from api.gateway.http import ApiRequest
from api.gateway.look_ups import look_up
from api.gateway.process import Gateway
from api.gateway.quote import OPEN_OUTPUT_TOKENS, Quote
from api.operations.base import (
    COMMON_HEADERS,
    KEY_ERRORS,
    LIMIT_HEADERS,
    DocsPage,
    Operation,
    Playground,
    Tokens,
)
from billing.ledger.gate import AdmissionResult
from billing.models import UsageHour
from billing.pricing.charge import Usage, charge_of, quote_parts
from billing.pricing.money import dollars_text

HISTORY_DAYS = 30

_encode = msgspec.json.Encoder().encode


class History(NamedTuple):
    """A key's answered requests of a model in the last 30 days, and their tokens."""

    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


async def answer_quote(
    gateway: Gateway,
    request: ApiRequest,
    dialect: Dialect,
    make_quoter: Any,
) -> None:
    """Answer with the quote of the request in the body. Raise an error of `api.errors`."""
    snapshot = await current_catalogue(gateway, request)
    admission = request.admission
    assert admission is not None  # noqa: S101 - the catalogue is a known key's
    parsed = await parsed_body(gateway, request, request.key_digests(), dialect)
    make_quote: Quoter = make_quoter(gateway)
    quote = quoted(gateway, snapshot, request.surface, parsed, make_quote)
    name = quote.model.name
    history = await look_up(admission.team_id, lambda: _history(admission, name, parsed.model))
    await request.respond(_encode(shown_quote(quote, history, admission.available_nanos)))


def _history(admission: AdmissionResult, model: str, named: str) -> History:
    """Return the key's history of a model. Raise ModelNotAllowedError if it may not call it."""
    key = ApiKey.objects.only("allowed_models").filter(pk=admission.key_id).first()
    if key is None:
        raise errors.InvalidApiKeyError()
    if key.allowed_models and model not in key.allowed_models:
        raise errors.ModelNotAllowedError.about(named)
    hours = UsageHour.objects.filter(
        account_id=admission.account_id,
        key_id=admission.key_id,
        model=model,
        hour__gte=datetime.now(UTC) - timedelta(days=HISTORY_DAYS),
    )
    tokens = {name: Sum(name) for name in History._fields[1:]}
    found = hours.aggregate(requests=Sum(F("requests") - F("errors")), **tokens)
    return History(**{name: int(figure or 0) for name, figure in found.items()})


def shown_quote(quote: Quote, history: History, available_nanos: int) -> dict[str, Any]:
    """Return a quote as the client sees it."""
    most = most_parts(quote)
    likely = charge_of(quote.prices, likely_usage(quote, history))
    return {
        "object": "quote",
        "endpoint": quote.operation,
        "model": quote.model.name,
        **_amount("hold", quote.amount_nanos),
        **_amount("minimum_hold", quote.minimum_nanos),
        **_amount("available", available_nanos),
        "is_affordable": available_nanos >= quote.minimum_nanos,
        "most": {
            **_amount("cost", sum(most.values())),
            "components": [
                {"component": name, **_amount("cost", nanos)} for name, nanos in most.items()
            ],
        },
        "likely": {
            **_amount("cost", likely.total_nanos),
            "components": [
                {"component": line[0], "quantity": line[1], **_amount("cost", line[4])}
                for line in likely.lines
            ],
            "requests": history.requests,
        },
        "prompt_tokens": {"likely": quote.prompt.likely, "most": quote.prompt.most},
        "max_tokens": quote.max_tokens,
    }


def most_parts(quote: Quote) -> dict[str, int]:
    """Return the most that the request can cost, in nano-dollars by component."""
    counted = quote.units or quote.most
    if counted is None:
        return quote_parts(
            quote.prices, {"output": quote.most_output, "request": 1}, quote.prompt.most
        )
    quantities = {
        "output": quote.most_output,
        "image": counted.images,
        "second": counted.seconds,
        "piece": counted.pieces,
        "request": 1,
        **counted.units,
    }
    return quote_parts(quote.prices, quantities, quote.prompt.most)


def likely_usage(quote: Quote, history: History) -> Usage:
    """Return what the request will likely use: its own prompt, with answers as the key's others.

    Without a history, an answer is as long as one counts at first whose length is left to us.
    """
    if quote.units is not None:
        return quote.units
    if quote.likely is not None:
        return quote.likely
    tokens_in, choices = quote.prompt.likely, quote.choices
    output = min(OPEN_OUTPUT_TOKENS * choices, quote.most_output)
    cached = reasoning = 0
    if history.requests:
        output = min(round(history.output_tokens / history.requests) * choices, quote.most_output)
    if history.input_tokens:
        cached = min(tokens_in, tokens_in * history.cached_tokens // history.input_tokens)
    if history.output_tokens:
        reasoning = min(output, output * history.reasoning_tokens // history.output_tokens)
    return Usage(
        input_tokens=tokens_in,
        cached_tokens=cached,
        output_tokens=output,
        reasoning_tokens=reasoning,
    )


def _amount(name: str, nanos: int) -> dict[str, Any]:
    return {name: dollars_text(nanos), f"{name}_nanos": nanos}


DollarsText = Annotated[str, Meta(description="Dollars as an exact decimal.")]


class MostPart(Struct):
    """The most that a component can cost."""

    component: str
    cost: DollarsText
    cost_nanos: int


class LikelyPart(Struct):
    """What a component will likely cost."""

    component: str
    quantity: int
    cost: DollarsText
    cost_nanos: int


class MostCost(Struct):
    """The most that the request can cost."""

    cost: DollarsText
    cost_nanos: int
    components: list[MostPart]


class LikelyCost(Struct):
    """What the request will likely cost."""

    cost: DollarsText
    cost_nanos: int
    components: list[LikelyPart]
    requests: Annotated[
        int,
        Meta(description="The key's requests of the last 30 days that the estimate is based on."),
    ]


class PromptTokens(Struct):
    """The prompt's tokens."""

    likely: Tokens
    most: Tokens


class QuoteAnswer(Struct, kw_only=True):
    """What a request would hold and cost. `…_nanos` are billionths of a dollar."""

    object: Annotated[str, Meta(pattern="^quote$")]
    endpoint: str
    model: str
    hold: Annotated[str, Meta(description="Dollars reserved while the request runs.")]
    hold_nanos: int
    minimum_hold: Annotated[
        str,
        Meta(description="The least balance in dollars; below `hold`, answers may be shortened."),
    ]
    minimum_hold_nanos: int
    available: Annotated[str, Meta(description="The team's available balance in dollars.")]
    available_nanos: int
    is_affordable: Annotated[bool, Meta(description="Whether the balance covers `minimum_hold`.")]
    most: MostCost
    likely: LikelyCost
    prompt_tokens: PromptTokens
    max_tokens: Annotated[Tokens, Meta(description="The limit of each answer; 0 without text.")]


_EXAMPLE = {
    "object": "quote",
    "endpoint": "chat_completions",
    "model": "glm-5.2",
    "hold": "0.020583900",
    "hold_nanos": 20_583_900,
    "minimum_hold": "0.000143900",
    "minimum_hold_nanos": 143_900,
    "available": "6.500000000",
    "available_nanos": 6_500_000_000,
    "is_affordable": True,
    "most": {
        "cost": "0.020583900",
        "cost_nanos": 20_583_900,
        "components": [
            {"component": "input", "cost": "0.000103900", "cost_nanos": 103_900},
            {"component": "output", "cost": "0.020480000", "cost_nanos": 20_480_000},
        ],
    },
    "likely": {
        "cost": "0.001256300",
        "cost_nanos": 1_256_300,
        "components": [
            {"component": "input", "quantity": 9, "cost": "0.000006300", "cost_nanos": 6_300},
            {
                "component": "output",
                "quantity": 500,
                "cost": "0.001250000",
                "cost_nanos": 1_250_000,
            },
        ],
        "requests": 212,
    },
    "prompt_tokens": {"likely": 9, "most": 148},
    "max_tokens": 8_192,
}
PAGE = DocsPage(
    slug="quotes",
    title="Quotes",
    summary="What a request will reserve, likely cost, and cost at most.",
    charge="Nothing.",
)


def quote_of(operation: Operation, page: DocsPage | None = None) -> Operation:
    """Return the operation that quotes a paid operation's requests."""
    dialect, quoter = operation.dialect, operation.quoter
    if dialect is None or quoter is None:
        raise ValueError(f"The operation {operation.name} has no quote.")
    changes: Mapping[str, Any] = {
        "name": f"{operation.name}_quote",
        "handle": partial(answer_quote, dialect=dialect, make_quoter=quoter),
        "path": f"{operation.path}/quote",
        "also_at": tuple(f"{path}/quote" for path in operation.also_at),
        "operation_id": f"quote_{operation.operation_id}",
        "tag": "Quotes",
        "summary": f"Quote: {operation.summary[0].lower()}{operation.summary[1:]}",
        "description": (
            f"Takes the body of `POST {operation.path}` and answers what the request would "
            "reserve, likely cost, and cost at most. Costs nothing, calls no model and counts "
            "against no limit."
        ),
        "errors": (400, *KEY_ERRORS, 404, 413, 415),
        "headers": COMMON_HEADERS + LIMIT_HEADERS,
        "answer": QuoteAnswer,
        "answer_example": _EXAMPLE | {"endpoint": operation.name},
        "answer_types": (),
        "success": 200,
        "stream": None,
        "stream_example": "",
        "model_kind": "",
        "model_input": "",
        "page": page,
        "playground": Playground(),
        "dialect": None,
        "quoter": None,
        "is_quote": True,
    }
    return replace(operation, **changes)
