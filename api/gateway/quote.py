"""The quote of a request: model, prices, limits, what to hold, and what bounds the prompt.

Everything here is pure and quick; `admission` asks the ledger to hold what was quoted.

The bound of a prompt makes the hold an upper bound of the cost. It rests on one fact: a byte-level
tokenizer never makes more tokens than there are bytes. JSON text is never shorter than the strings
in it, so the body's length bounds everything that a chat template can put in front of the model,
except for what isn't sent as text: images, and what is only referred to.
"""

import math
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, Snapshot
from api.dialects.base import Dialect, ParsedRequest
from api.dialects.service_tiers import named_tier
from api.phrases import Phrase
from api.surfaces import Surface
from billing.pricing.charge import Usage, affordable_output_tokens, quote, quote_range
from billing.pricing.rates import Prices

# The least output that is worth a call, where the client leaves its length to us.
LEAST_OUTPUT_TOKENS = 16
# What each answer counts against the tokens a minute at first; what it grows beyond that counts as
# it grows. Coding agents name 128,000 tokens and use a few hundred: they could never be admitted in
# full. Answers whose length is left to us are short more often than not: at a plan's sixty requests
# and 120,000 tokens a minute, sixty of them are admitted.
GRANTED_OUTPUT_TOKENS = 4_096
OPEN_OUTPUT_TOKENS = 1_024
# Room that is left for output when the prompt seems to fill the context: the upstream will judge.
LEAST_ROOM_TOKENS = 1_024
# What a template adds around each message, and around the whole: role names, separators, dates.
TOKENS_PER_MESSAGE = 16
TOKENS_PER_PROMPT = 64
# What upstreams put before a prompt by themselves, and bill: instructions for tools (313 to 804
# tokens by Anthropic's documentation, tool use), default system prompts. No hold is made for it.
ADDED_TOKENS = 1_024
# What most templates add around each message: the role's name and two separators.
LIKELY_TOKENS_PER_MESSAGE = 4


class Estimate(NamedTuple):
    """A prompt's tokens. `most` is never exceeded; `likely` is for limits and partial bills."""

    likely: int
    most: int


class Quote(msgspec.Struct, kw_only=True, gc=False):
    """What was decided about a request before its reservation. Amounts are nano-dollars.

    `operation` is the operation's name in usage records. `prices` are those at the service tier
    that the request names. `max_tokens` limits each of `choices`
    answers to all prompts. `echoed_bytes` is how much of the text that comes back is the prompt's.
    `units` is what was asked for where the answer is not text, and `job_seconds` how long that may
    take after the answer. `most` and `likely` bound and estimate what is counted in the request
    itself, such as characters. `most_tokens` is the most that prompt and answers can have together,
    as any upstream counts, `most_input` the most that prompts can be charged as, and
    `total_seconds` the longest that any of the routes may take.
    `uncalibrated` is the estimate by the model's row alone of a prompt that is nothing but text.
    """

    operation: str
    dialect: Dialect
    request: ParsedRequest
    model: ModelEntry
    prices: Prices
    prompt: Estimate
    amount_nanos: int
    minimum_nanos: int
    catalogue_version: int
    limited_tokens: int = 0
    least_limited_tokens: int | None = None
    max_tokens: int = 0
    echoed_bytes: int = 0
    units: Usage | None = None
    job_seconds: float = 0
    most: Usage | None = None
    likely: Usage | None = None
    choices: int = 0
    most_tokens: int = 0
    most_input: int = 0
    total_seconds: float = 0
    uncalibrated: int = 0
    bytes_per_token: float = 0

    def __post_init__(self) -> None:
        """Work out what the request's way looks up more than once."""
        request, model = self.request, self.model
        self.choices = request.choices
        self.bytes_per_token = model.bytes_per_token
        size = request.prompt
        is_counted = self.units is not None or self.likely is not None
        if not (is_counted or size.images or size.media_tokens or size.token_ids):
            self.uncalibrated = self.prompt.likely
        self.most_tokens = (
            model.context_tokens * request.prompt.prompts + self.max_tokens * request.choices
        )
        # What the upstream searches for itself, and the like, isn't bounded by what was sent.
        is_bounded = self.units is None and not request.billed
        added = ADDED_TOKENS * size.prompts
        self.most_input = self.prompt.most + added if is_bounded else self.most_tokens
        self.total_seconds = max([route.upstream.total_timeout_seconds for route in model.routes])

    @property
    def likely_input(self) -> int:
        """The estimate of the prompts' tokens."""
        return self.prompt.likely

    @property
    def most_output(self) -> int:
        """The most tokens that all answers together were held for."""
        return self.max_tokens * self.choices

    def likely_output(self, text_bytes: int) -> int:
        """Return the estimate of the tokens of generated text, within what was held for."""
        tokens = math.ceil(max(0, text_bytes - self.echoed_bytes) / self.bytes_per_token)
        return min(tokens, self.most_output)

    def calibrate(self, ratio: float) -> None:
        """Fit the estimates to what upstreams count for each token that we do; never the hold."""
        if self.units is not None or self.likely is not None:
            return
        likely = min(round(self.prompt.likely * ratio), self.prompt.most)
        self.limited_tokens += likely - self.prompt.likely
        self.prompt = Estimate(likely, self.prompt.most)
        self.bytes_per_token = self.model.bytes_per_token / ratio

    def lower_to(self, amount_nanos: int) -> None:
        """Fit the output into a hold that is smaller than the quote."""
        affordable = affordable_output_tokens(
            self.prices, input_tokens_max=self.prompt.most, amount_nanos=amount_nanos
        )
        if affordable is not None:
            self.max_tokens = max(1, min(self.max_tokens, affordable // self.choices))
            prompts = self.request.prompt.prompts
            self.most_tokens = self.model.context_tokens * prompts + self.max_tokens * self.choices


def quote_text(
    operation: str, dialect: Dialect, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of a request for generated text. Raise an error of `api.errors`."""
    model, prices = find_sold(snapshot, request.model)
    if prices.service_tiers and dialect.has_service_tiers:
        prices = at_named_tier(prices, request)
    check_served(model, surface, request, "chat", "text completions")
    prompt = estimate_prompt(request, model)
    prompts, choices = request.prompt.prompts, request.choices
    max_tokens = _output_limit(model, prompt.likely // prompts, request.max_tokens)
    may_be_lowered = request.max_tokens is None or request.is_limit_a_ceiling
    least_tokens = min(max_tokens, LEAST_OUTPUT_TOKENS) if may_be_lowered else max_tokens
    is_open = request.max_tokens is None
    granted_tokens = min(max_tokens, OPEN_OUTPUT_TOKENS if is_open else GRANTED_OUTPUT_TOKENS)
    least_granted = least_tokens if is_open else granted_tokens
    amount, minimum = quote_range(
        prices,
        input_tokens_max=prompt.most,
        output_tokens_max=max_tokens * choices,
        output_tokens_min=least_tokens * choices,
    )
    return Quote(
        operation=operation,
        dialect=dialect,
        request=request,
        model=model,
        prices=prices,
        prompt=prompt,
        amount_nanos=amount,
        minimum_nanos=minimum,
        catalogue_version=snapshot.version,
        limited_tokens=prompt.likely + granted_tokens * choices,
        least_limited_tokens=prompt.likely + least_granted * choices,
        max_tokens=max_tokens,
        echoed_bytes=math.ceil(prompt.likely * model.bytes_per_token) * request.echoes,
    )


def quote_units(
    operation: str,
    dialect: Dialect,
    snapshot: Snapshot,
    request: ParsedRequest,
    *,
    sold: tuple[ModelEntry, Prices],
    units: Usage,
    job_seconds: float = 0,
) -> Quote:
    """Return the quote of a request for `units`, such as images, of a model that is `sold`."""
    model, prices = sold
    amount = quote(
        prices,
        images=units.images,
        seconds=units.seconds,
        pieces=units.pieces,
        units=units.units,
    )
    return Quote(
        operation=operation,
        dialect=dialect,
        request=request,
        model=model,
        prices=prices,
        prompt=Estimate(0, 0),
        amount_nanos=amount,
        minimum_nanos=amount,
        catalogue_version=snapshot.version,
        units=units,
        job_seconds=job_seconds,
    )


def quote_counted(
    operation: str,
    dialect: Dialect,
    snapshot: Snapshot,
    request: ParsedRequest,
    *,
    sold: tuple[ModelEntry, Prices],
    most: Usage,
    likely: Usage,
    max_tokens: int = 0,
) -> Quote:
    """Return the quote of a request that is counted before it is answered, such as by characters.

    `most` is held for, `likely` is charged where the upstream's figures can't be had or true. The
    answer's text, if it has any, has at most `max_tokens`.
    """
    model, prices = sold
    likely_tokens = min(likely.input_tokens, most.input_tokens)
    amount = quote(
        prices,
        input_tokens_max=most.input_tokens,
        output_tokens_max=max_tokens,
        units=most.units,
    )
    return Quote(
        operation=operation,
        dialect=dialect,
        request=request,
        model=model,
        prices=prices,
        prompt=Estimate(likely_tokens, most.input_tokens),
        amount_nanos=amount,
        minimum_nanos=amount,
        catalogue_version=snapshot.version,
        limited_tokens=likely_tokens,
        max_tokens=max_tokens,
        most=most,
        likely=likely,
    )


def check_priced(prices: Prices, *components: str) -> None:
    """Raise ModelUnpricedError unless one of `components` has a price, which may be 0 on purpose.

    Only a rate without a column of its own can be absent, so only there 0 is a price.
    """
    if not any(prices.of(name) or name in prices.extra for name in components):
        raise errors.ModelUnpricedError()


def find_sold(snapshot: Snapshot, name: str) -> tuple[ModelEntry, Prices]:
    """Return a model that can be sold now, with its prices."""
    if not snapshot.service.is_open:
        raise errors.ServiceUnavailableError(
            Phrase("The API is temporarily unavailable. Retry after the time in Retry-After.")
        )
    now = datetime.now(UTC)
    model, prices = snapshot.find_priced(name, now)
    if model is None:
        raise errors.ModelNotFoundError.about(name)
    if prices is None:
        raise errors.ModelUnpricedError()
    if model.drains:
        model = model.in_service(now)
    if snapshot.service.refuses_below_cost:
        model = model.without_losses(prices, now)
    if not model.routes:
        raise errors.ModelOfflineError()
    return model, prices


def at_named_tier(prices: Prices, request: ParsedRequest) -> Prices:
    """Return the prices at the service tier that the request names, if it has a price.

    Then the tier goes upstream. Else it is what the model's row allows or refuses, like any other
    parameter that changes the upstream's bill.
    """
    tier = named_tier(request.fields)
    if tier not in prices.service_tiers:
        return prices
    request.service_tier = tier
    request.billed -= {"service_tier"}
    return prices.at_service_tier(tier)


def check_served(
    model: ModelEntry, surface: Surface, request: ParsedRequest, kind: str, product: str
) -> None:
    """Raise the error of `api.errors` that says what of a request the model's row doesn't serve.

    `kind` is the kind of model that the operation takes, and `product` what such models make.
    """
    name = request.model
    if model.kind != kind:
        raise errors.InvalidValueError(
            Phrase(
                "The model '{name}' doesn't support {product}.",
                name=errors.quoted(name),
                product=product,
            ),
            param="model",
        )
    if surface.models == "coding" and not model.is_coding:
        raise errors.EndpointNotAllowedError(
            Phrase(
                "The model '{name}' is not served by the coding endpoint. Use a coding "
                "model, or the general endpoint.",
                name=errors.quoted(name),
            ),
            param="model",
        )
    messages = request.prompt.messages
    if model.max_messages is not None and messages > model.max_messages:
        raise errors.InvalidValueError(
            Phrase(
                "Invalid 'messages': expected at most {max_messages} items, but got {messages}.",
                max_messages=model.max_messages,
                messages=messages,
            ),
            param="messages",
        )
    if model.refusals and (rule := model.refused_by(request.used)):
        first = rule.partition("+")[0]
        raise errors.UnsupportedParameterError.about(rule, name, param=first)
    for parameter in request.billed:
        if not model.allows(parameter):
            first = parameter.partition(".")[0]
            raise errors.UnsupportedParameterError.about(first, name, param=first)
    for modality, place in request.modalities:
        if modality not in model.input_modalities:
            raise errors.UnsupportedParameterError(
                Phrase(
                    "The model '{name}' doesn't support {modality} input. Leave it out or use "
                    "another model.",
                    name=errors.quoted(name),
                    modality=modality,
                ),
                param=place,
            )


def estimate_prompt(request: ParsedRequest, model: ModelEntry) -> Estimate:
    """Return the estimate of a request's prompts, together."""
    size = request.prompt
    image_tokens = size.images * model.tokens_per_image
    most = model.context_tokens * size.prompts
    if size.is_bounded:
        if size.messages:
            overhead = TOKENS_PER_MESSAGE * size.messages + TOKENS_PER_PROMPT
        else:
            # A tokenizer may begin each prompt with a token of its own. A token id in JSON takes
            # more bytes than the one token that it is.
            overhead = size.prompts
        most = min(most, request.size_bytes - size.image_bytes + image_tokens + overhead)
    likely = (
        tokens_of(size.text_bytes, model)
        + size.token_ids
        + size.media_tokens
        + image_tokens
        + LIKELY_TOKENS_PER_MESSAGE * size.messages
    )
    return Estimate(min(likely, most), most)


def tokens_of(text_bytes: int, model: ModelEntry) -> int:
    """Return how many tokens a text of so many UTF-8 bytes likely has for the model."""
    return math.ceil(text_bytes / model.bytes_per_token)


def _output_limit(model: ModelEntry, prompt_tokens: int, named: int | None) -> int:
    """Return the most tokens that one answer to a prompt of likely so many may have."""
    if named is not None:
        return min(named, model.max_output_tokens)
    limit = min(model.default_max_tokens or model.max_output_tokens, model.max_output_tokens)
    # Many upstreams refuse a prompt and a limit that together exceed the context, which is no
    # fault of a client that named no limit. A quarter is added to the prompt, as it is a guess.
    room = model.context_tokens - prompt_tokens - prompt_tokens // 4
    return min(limit, max(room, LEAST_ROOM_TOKENS))
