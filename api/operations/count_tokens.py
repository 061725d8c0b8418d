"""`POST …/messages/count_tokens`: how many tokens a prompt has; free, and outside all limits."""

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from api.catalogue.snapshot import ModelEntry
from api.dialects.anthropic_messages import COUNT
from api.dialects.anthropic_messages.request import CountRequest
from api.dialects.base import ParsedRequest
from api.gateway.admission import current_catalogue, parsed_body
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.gateway.quote import check_served, estimate_prompt, find_sold
from api.gateway.upstream_errors import AttemptError
from api.operations.base import KEY_ERRORS, DocsPage, Operation, Tokens
from api.operations.messages import PROMPT_NOTES
from api.phrases import Phrase

# A client that shows its context asks for dozens of counts at once: a guess is better than a wait.
UPSTREAM_SECONDS = 3
MAX_ANSWER_BYTES = 4_096


class TokenCount(Struct):
    """How many tokens a prompt has."""

    input_tokens: Annotated[
        Tokens,
        Meta(description="Counted by the provider if it supports that, otherwise estimated."),
    ]


async def count_tokens(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the count of a prompt's tokens. Raise an error of `api.errors`."""
    snapshot = await current_catalogue(gateway, request)
    parsed = await parsed_body(gateway, request, request.key_digests(), COUNT)
    model, _ = find_sold(snapshot, parsed.model)
    check_served(model, request.surface, parsed, "chat", Phrase("text completions"))
    count = await _counted_upstream(gateway, request, parsed, model)
    if count is None:
        count = estimate_prompt(parsed, model).likely
    await request.respond(msgspec.json.encode(TokenCount(count)))


async def _counted_upstream(
    gateway: Gateway, request: ApiRequest, parsed: ParsedRequest, model: ModelEntry
) -> int | None:
    """Return the count of the first upstream that counts for free, or None."""
    for route in model.routes:
        is_out = gateway.breakers.state(route.route_key) == "open"
        if is_out or route.upstream.dialect != COUNT.family:
            continue
        body = COUNT.upstream_body(parsed, model, route, 0)
        try:
            async with asyncio.timeout(UPSTREAM_SECONDS):
                response = await gateway.upstreams.post(
                    route.upstream,
                    COUNT,
                    body,
                    request_id=request.request_id,
                    team_id=request.admission.team_id if request.admission is not None else 0,
                    forwarded=parsed.forwarded,
                )
                try:
                    answer = await response.read(MAX_ANSWER_BYTES)
                finally:
                    await response.close()
            return msgspec.json.decode(answer, type=TokenCount).input_tokens
        except (AttemptError, TimeoutError, msgspec.MsgspecError):
            return None
    return None


COUNT_TOKENS = Operation(
    name="count_tokens",
    handle=count_tokens,
    methods=("POST",),
    path="/messages/count_tokens",
    also_at=("/v1/messages/count_tokens",),
    render_error=COUNT.render_error,
    operation_id="count_message_tokens",
    tag="Messages",
    summary="Count a prompt's tokens",
    description=(
        "Counts the tokens of a Messages request's prompt. Costs nothing, reserves nothing "
        "and counts against no limit."
    ),
    body=CountRequest,
    notes=PROMPT_NOTES,
    examples={
        "Minimal": {"model": "glm-5.2", "messages": [{"role": "user", "content": "Hello!"}]},
    },
    answer=TokenCount,
    answer_example={"input_tokens": 9},
    errors=(400, *KEY_ERRORS, 404, 413, 415),
    page=DocsPage(
        slug="count-tokens",
        title="Token counts",
        summary="Count the tokens of a Messages prompt, free of charge.",
        charge="Nothing.",
    ),
)
