"""`GET …/generation`: what one request used and cost, as OpenRouter's API shows it."""

import re
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.dialects.base import json_dollars
from api.gateway.http import ApiRequest
from api.gateway.look_ups import known_key, look_up
from api.gateway.process import Gateway
from api.operations.base import KEY_ERRORS, DocsPage, Operation, query_of
from api.operations.key import Dollars
from billing.models import UsageRecord

# A request's id, and the ids that we make of it: `video-…`, `chatcmpl-…`, `msg_…`, `resp_…`.
_ID = re.compile(
    r"(?:[a-z]{3,10}[-_])?([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})"
)
_API_TYPES = {
    "chat_completions": "completions",
    "completions": "completions",
    "messages": "completions",
    "responses": "completions",
    "async_chat_completions": "completions",
    "embeddings": "embeddings",
    "rerank": "rerank",
    "audio_speech": "tts",
    "audio_transcriptions": "stt",
    "images_generations": "image",
    "images_edits": "image",
    "videos_generations": "video",
}
EXAMPLE_ID = "0198c2f0-a1b2-7cc8-9a55-2f1e4bd3c111"


class GenerationQuery(Struct, kw_only=True):
    """The query of a request's usage."""

    id: Annotated[
        str,
        Meta(
            description="The request's id, from the header `X-Request-Id`.",
            min_length=1,
            max_length=200,
        ),
    ]


async def show_generation(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with what one of the team's requests used. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    named = query_of(request, GenerationQuery).id
    request_id = request_id_in(named)
    record = None
    if request_id is not None:
        wanted = UsageRecord.objects.filter(
            pk=request_id, account_id=admission.account_id
        ).select_related("account")
        record = await look_up(admission.team_id, wanted.first)
    if record is None:
        raise errors.NotFoundError(
            f"There is no completed request '{errors.quoted(named)}'. Use the id in the header "
            "X-Request-Id of its response.",
            param="id",
        )
    await request.respond(msgspec.json.encode({"data": generation_of(record)}))


def request_id_in(text: str) -> UUID | None:
    """Return the request's id, of it or of an id that we make of it; None for any other text."""
    found = _ID.fullmatch(text)
    return UUID(found[1]) if found is not None else None


def generation_of(record: UsageRecord) -> dict[str, object]:
    """Return a request as OpenRouter's API shows it, without the upstream's name and price."""
    first_token = record.first_token_ms
    cost = json_dollars(record.charged_nanos)
    is_image = _API_TYPES.get(record.endpoint) == "image"
    return {
        "id": str(record.pk),
        "request_id": str(record.pk),
        "model": record.model,
        "provider_name": None,
        "created_at": record.created_at,
        "streamed": record.streamed,
        "cancelled": record.outcome == "client_closed",
        "finish_reason": record.finish_reason or None,
        "native_finish_reason": record.finish_reason or None,
        "tokens_prompt": record.input_tokens,
        "tokens_completion": record.output_tokens,
        "native_tokens_prompt": record.input_tokens,
        "native_tokens_completion": record.output_tokens,
        "native_tokens_completion_images": None,
        "native_tokens_reasoning": record.reasoning_tokens,
        "native_tokens_cached": record.cached_tokens,
        "num_media_prompt": None,
        "num_media_completion": record.images if is_image else None,
        "num_input_audio_prompt": None,
        "num_search_results": None,
        "num_fetches": None,
        "web_search_engine": None,
        "total_cost": cost,
        "usage": cost,
        "upstream_inference_cost": None,
        "cache_discount": None,
        "is_byok": False,
        "latency": record.latency_ms if first_token is None else first_token,
        "generation_time": record.latency_ms - (first_token or 0),
        "moderation_latency": None,
        "origin": "",
        "http_referer": None,
        "user_agent": None,
        "app_id": None,
        "external_user": record.end_user or None,
        "session_id": record.session_id or None,
        "preset_id": None,
        "router": None,
        "service_tier": service_tier_of(record),
        "api_type": _API_TYPES.get(record.endpoint),
        "provider_responses": None,
        "data_region": None,
        "workspace_id": None,
        "upstream_id": None,
        "key_id": record.key_id,
        "endpoint": record.endpoint,
        "outcome": record.outcome,
        "usage_source": record.source,
    }


def service_tier_of(record: UsageRecord) -> str | None:
    """Return the service tier that the charge's lines name; None for the usual one."""
    return next((line[7] for line in record.lines if len(line) > 7 and line[7]), None)


class Generation(Struct, kw_only=True):
    """A completed request. Times are in milliseconds, amounts in dollars."""

    id: str
    request_id: str
    model: str
    provider_name: None
    created_at: datetime
    streamed: bool
    cancelled: bool
    finish_reason: str | None
    native_finish_reason: str | None
    tokens_prompt: int
    tokens_completion: int
    native_tokens_prompt: int
    native_tokens_completion: int
    native_tokens_completion_images: int | None
    native_tokens_reasoning: int
    native_tokens_cached: int
    num_media_prompt: int | None
    num_media_completion: int | None
    num_input_audio_prompt: int | None
    num_search_results: int | None
    num_fetches: int | None
    web_search_engine: str | None
    total_cost: Dollars
    usage: Dollars
    upstream_inference_cost: float | None
    cache_discount: float | None
    is_byok: bool
    latency: Annotated[int, Meta(description="To the first token, or to the whole answer.")]
    generation_time: Annotated[int, Meta(description="From the first token to the end.")]
    moderation_latency: int | None
    origin: str
    http_referer: str | None
    user_agent: str | None
    app_id: int | None
    external_user: Annotated[str | None, Meta(description="The request's `user`.")]
    session_id: Annotated[str | None, Meta(description="The session that the request named.")]
    preset_id: str | None
    router: str | None
    service_tier: str | None
    api_type: str | None
    provider_responses: None
    data_region: str | None
    workspace_id: str | None
    upstream_id: str | None
    key_id: int
    endpoint: str
    outcome: Annotated[str, Meta(description="`completed`, `client_closed`, `upstream_error`, …")]
    usage_source: Annotated[str, Meta(description="`upstream`, `estimated` or `none`.")]


class GenerationAnswer(Struct):
    """A completed request."""

    data: Generation


_EXAMPLE = {
    **dict.fromkeys(Generation.__struct_fields__),
    "id": EXAMPLE_ID,
    "request_id": EXAMPLE_ID,
    "model": "glm-5.2",
    "created_at": "2026-11-30T21:03:22.123456Z",
    "streamed": True,
    "cancelled": False,
    "finish_reason": "stop",
    "native_finish_reason": "stop",
    "tokens_prompt": 500,
    "tokens_completion": 1000,
    "native_tokens_prompt": 500,
    "native_tokens_completion": 1000,
    "native_tokens_reasoning": 0,
    "native_tokens_cached": 0,
    "total_cost": 0.00285,
    "usage": 0.00285,
    "is_byok": False,
    "latency": 320,
    "generation_time": 4100,
    "origin": "",
    "session_id": "0198c2f0-9f00-7000-8000-000000000001",
    "api_type": "completions",
    "key_id": 12,
    "endpoint": "chat_completions",
    "outcome": "completed",
    "usage_source": "upstream",
}

GENERATION = Operation(
    name="generation",
    handle=show_generation,
    methods=("GET", "HEAD"),
    path="/generation",
    at_root=False,
    query=GenerationQuery,
    operation_id="get_generation",
    tag="Account",
    summary="Get what a request used and cost",
    description=(
        "Shows the tokens, the charge and the times of one of the team's completed requests, in "
        "the format of OpenRouter's API. Free, and outside all limits."
    ),
    answer=GenerationAnswer,
    answer_example={"data": _EXAMPLE},
    errors=(400, *KEY_ERRORS, 404),
    page=DocsPage(
        slug="generation",
        title="Request details",
        summary="What one request used and cost.",
        charge="Nothing.",
    ),
)
