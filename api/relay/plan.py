"""The plan of a request: model, prices, limits, what to hold and what to send upstream.

Everything here is pure and quick; `admission.py` asks the ledger about the plan.
"""

import math
from datetime import UTC, datetime

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry, Snapshot
from api.completion_requests import CompletionBody, CompletionRequest
from api.relay.capabilities import check_capabilities, check_text_capabilities
from api.relay.estimate import Estimate, estimate_prompt, estimate_texts
from api.requests import ChatBody, ChatRequest
from api.surfaces import Surface
from billing.pricing.charge import Usage
from billing.pricing.rates import Prices, affordable_output_tokens, quote

# The least output that is worth a call, where the client leaves its length to us.
LEAST_OUTPUT_TOKENS = 16
# Room that is left for output when the prompt seems to fill the context: the upstream will judge.
LEAST_ROOM_TOKENS = 1_024

_encode = msgspec.json.Encoder().encode


class Plan(msgspec.Struct, kw_only=True, gc=False):
    """What was decided about a request before its reservation. Amounts are nano-dollars.

    `max_tokens` limits each of `choices` answers to all of `prompts`. `public_name` is the name
    that the client asked for the model by, and gets back. `echoed_bytes` is how much of the text
    that comes back is the prompt's.

    `units` is what is asked for where the answer is no text, and `job_seconds` how long that may
    take after the answer.
    """

    endpoint: str = "chat_completions"
    path: str = "/chat/completions"
    prompts: int = 1
    echoed_bytes: int = 0
    units: Usage | None = None
    job_seconds: float = 0
    model: ModelEntry
    prices: Prices
    prompt: Estimate
    public_name: str
    fields: dict[str, object]
    choices: int
    max_tokens: int
    amount_nanos: int
    minimum_nanos: int
    limited_tokens: int
    catalogue_version: int
    is_streamed: bool
    wants_usage: bool
    end_user: str

    def lower_to(self, amount_nanos: int) -> None:
        """Fits the output into a hold that is smaller than the quote."""
        affordable = affordable_output_tokens(
            self.prices, input_tokens_max=self.prompt.most, amount_nanos=amount_nanos
        )
        if affordable is not None:
            self.max_tokens = max(1, min(self.max_tokens, affordable // self.choices))

    def is_tagged_by(self, route: RouteEntry) -> bool:
        """Returns whether the route's answers may have their reasoning in `<think>` tags.

        A legacy completion is the model's text as it is.
        """
        return route.reasoning_dialect == "think" and self.endpoint == "chat_completions"

    @property
    def most_tokens(self) -> int:
        """The most that prompt and answers can have together, in any upstream's eyes."""
        return self.model.context_tokens * self.prompts + self.max_tokens * self.choices

    @property
    def total_seconds(self) -> float:
        """The longest that any of the routes may take."""
        return max(route.upstream.total_timeout_seconds for route in self.model.routes)


def plan_chat(snapshot: Snapshot, surface: Surface, body: ChatBody) -> Plan:
    """Returns the plan of a chat completion. Raises an error of `api.errors`."""
    chat = body.chat
    model, prices = find_sold(snapshot, chat.model)
    check_capabilities(model, surface, body)
    prompt = estimate_prompt(chat, model, body.size_bytes)
    limit = _output_limit(model, prompt.likely, chat.named_max_tokens)
    return _plan(snapshot, chat, body.fields, model, prices, prompt=prompt, max_tokens=limit)


def plan_completion(snapshot: Snapshot, surface: Surface, body: CompletionBody) -> Plan:
    """Returns the plan of a legacy completion. Raises an error of `api.errors`."""
    request = body.request
    model, prices = find_sold(snapshot, request.model)
    check_text_capabilities(model, surface, body)
    prompts = len(request.prompts)
    prompt = estimate_texts(request.prompts, model, body.size_bytes)
    limit = _output_limit(model, prompt.likely // prompts, request.named_max_tokens)
    plan = _plan(snapshot, request, body.fields, model, prices, prompt=prompt, max_tokens=limit)
    plan.endpoint, plan.path, plan.prompts = "completions", "/completions", prompts
    if request.echo:
        plan.echoed_bytes = math.ceil(prompt.likely * model.bytes_per_token) * (request.n or 1)
    return plan


def _plan(
    snapshot: Snapshot,
    request: ChatRequest | CompletionRequest,
    fields: dict[str, object],
    model: ModelEntry,
    prices: Prices,
    *,
    prompt: Estimate,
    max_tokens: int,
) -> Plan:
    """Returns the plan of a request for text: what it can cost, and the least that makes sense."""
    named, choices = request.named_max_tokens, request.choices
    amount = quote(prices, input_tokens_max=prompt.most, output_tokens_max=max_tokens * choices)
    minimum = amount
    if named is None and max_tokens > LEAST_OUTPUT_TOKENS:
        minimum = quote(
            prices, input_tokens_max=prompt.most, output_tokens_max=LEAST_OUTPUT_TOKENS * choices
        )
    options = request.stream_options
    return Plan(
        model=model,
        prices=prices,
        prompt=prompt,
        public_name=request.model,
        fields=fields,
        choices=choices,
        max_tokens=max_tokens,
        amount_nanos=amount,
        minimum_nanos=minimum,
        limited_tokens=prompt.likely + (0 if named is None else max_tokens * choices),
        catalogue_version=snapshot.version,
        is_streamed=bool(request.stream),
        wants_usage=options is not None and bool(options.include_usage),
        end_user=request.user or "",
    )


def upstream_body(plan: Plan, route: RouteEntry) -> bytes:
    """Returns the JSON that the route's upstream gets for the planned request.

    The client's own fields, encoded anew, with the upstream's name of the model and the output
    limit that was paid for, always under the one name that every upstream knows.
    """
    model = plan.model
    body = {**plan.fields, "model": route.upstream_model, "max_tokens": plan.max_tokens}
    body.pop("max_completion_tokens", None)
    if plan.is_streamed:
        body["stream_options"] = {"include_usage": True}
    if model.default_temperature is not None and body.get("temperature") is None:
        body["temperature"] = model.default_temperature
    if model.default_top_p is not None and body.get("top_p") is None:
        body["top_p"] = model.default_top_p
    return _encode(body)


def find_sold(snapshot: Snapshot, name: str) -> tuple[ModelEntry, Prices]:
    """Returns a model that can be sold now, with its prices."""
    if not snapshot.service.is_open:
        raise errors.ServiceUnavailableError(
            "The API is switched off for the moment. Try again as Retry-After says."
        )
    model = snapshot.find(name)
    if model is None:
        raise errors.ModelNotFoundError.about(name)
    prices = model.price_at(datetime.now(UTC))
    if prices is None:
        raise errors.ModelUnpricedError()
    if not model.routes:
        raise errors.ModelOfflineError()
    return model, prices


def _output_limit(model: ModelEntry, prompt_tokens: int, named: int | None) -> int:
    """Returns the most tokens that one answer to a prompt of likely so many may have."""
    if named is not None:
        return min(named, model.max_output_tokens)
    limit = min(model.default_max_tokens or model.max_output_tokens, model.max_output_tokens)
    # Many upstreams refuse a prompt and a limit that together exceed the context, which is no
    # fault of a client that named no limit. A quarter is added to the prompt, as it is a guess.
    room = model.context_tokens - prompt_tokens - prompt_tokens // 4
    return min(limit, max(room, LEAST_ROOM_TOKENS))
