"""`GET …/models`, `…/models/{model}` and `…/chat/models`: what can be called, at what price."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api import errors
from api.gateway.admission import current_catalogue
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.operations.agents_models import anthropic_entry, anthropic_list, codex_list
from api.operations.base import KEY_ERRORS, Operation, Tokens, UnixSeconds

_encode = msgspec.json.Encoder().encode

DecimalText = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?$")]
Unit = Annotated[DecimalText, Meta(description="US dollars, as an exact decimal.")]


async def list_models(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the surface's models, in the form that the client's program reads."""
    snapshot = await current_catalogue(gateway, request)
    now = datetime.now(UTC)
    listed = snapshot.public_models(coding_only=request.surface.models == "coding")
    if b"anthropic-version" in request.headers:
        await request.respond(_encode(anthropic_list(listed)))
        return
    answer: dict[str, Any] = {"object": "list"}
    answer["data"] = [model.listing(now) for model in listed]
    if b"client_version" in parse_qs(request.query):
        answer["models"] = codex_list(listed)
    await request.respond(_encode(answer))


async def list_chat_models(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the surface's chat models, with their keys and output limits (WeryAI)."""
    snapshot = await current_catalogue(gateway, request)
    now = datetime.now(UTC)
    listed = snapshot.public_models(coding_only=request.surface.models == "coding", kind="chat")
    data = [model.chat_listing(now) for model in listed]
    await request.respond(_encode({"object": "list", "data": data}))


async def show_model(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with one model, by its name or an alias. Raise ModelNotFoundError."""
    snapshot = await current_catalogue(gateway, request)
    model = snapshot.find(request.argument)
    if model is None or (request.surface.models == "coding" and not model.is_coding):
        raise errors.ModelNotFoundError.about(request.argument)
    if b"anthropic-version" in request.headers:
        await request.respond(_encode(anthropic_entry(model, request.argument)))
    else:
        await request.respond(_encode(model.listing(datetime.now(UTC), request.argument)))


class Rates(Struct, kw_only=True):
    """What is paid, in dollars as exact decimals: per token, and per piece."""

    prompt: Unit | UnsetType = UNSET
    completion: Unit | UnsetType = UNSET
    input_cache_read: Unit | UnsetType = UNSET
    internal_reasoning: Unit | UnsetType = UNSET
    image: Unit | UnsetType = UNSET
    second: Unit | UnsetType = UNSET
    video: Unit | UnsetType = UNSET
    request: Unit | UnsetType = UNSET


class ContextTier(Rates, kw_only=True):
    """The prices of a whole request whose input exceeds a number of tokens."""

    above_input_tokens: Annotated[int, Meta(ge=1)]


class Pricing(Rates, kw_only=True):
    """Prices in dollars as exact decimals, with context tiers and service tiers."""

    context_tiers: list[ContextTier] | UnsetType = UNSET
    service_tiers: (
        Annotated[dict[str, Unit], Meta(description="The factor of each `service_tier`.")]
        | UnsetType
    ) = UNSET


class Datacenter(Struct):
    """Where a model runs."""

    country_code: Annotated[str, Meta(min_length=2, max_length=2)]


class ModelObject(Struct):
    """A model of the catalogue."""

    id: Annotated[str, Meta(description="The name to use in requests.")]
    object: Literal["model"]
    created: UnixSeconds
    owned_by: str
    name: str
    reasoning: bool
    supports_files: bool
    supports_images: bool
    input_modalities: list[str]
    output_modalities: list[str]
    quantization: str | None
    pricing: Pricing
    supported_sampling_parameters: list[str]
    supported_features: list[str]
    datacenters: list[Datacenter]
    description: str | UnsetType = UNSET
    context_length: Tokens | UnsetType = UNSET
    max_completion_tokens: Tokens | UnsetType = UNSET


class ModelList(Struct):
    """The models that the mount serves."""

    object: Literal["list"]
    data: list[ModelObject]


class ChatModelObject(ModelObject, kw_only=True):
    """A chat model, with its output limits."""

    key: Annotated[str, Meta(description="The name to use in requests; same as `id`.")]
    max_output_tokens: Tokens
    default_max_tokens: Annotated[Tokens, Meta(description="If `max_tokens` is not set.")] | None
    max_messages: Annotated[int, Meta(ge=1)] | None
    supports_web_search: bool


class ChatModelList(Struct):
    """The chat models that the mount serves."""

    object: Literal["list"]
    data: list[ChatModelObject]


_MODEL = {
    "id": "glm-5.2",
    "object": "model",
    "created": 1_700_000_000,
    "owned_by": "z-ai",
    "name": "GLM-5.2",
    "context_length": 256_000,
    "max_completion_tokens": 128_000,
    "reasoning": True,
    "supports_files": True,
    "supports_images": False,
    "input_modalities": ["text", "file"],
    "output_modalities": ["text"],
    "quantization": None,
    "pricing": {"prompt": "0.0000007", "completion": "0.0000025"},
    "supported_sampling_parameters": ["temperature", "top_p", "stop"],
    "supported_features": ["tools", "json_mode", "structured_outputs", "reasoning"],
    "datacenters": [],
}
_CHAT_MODEL = {
    **_MODEL,
    "key": "glm-5.2",
    "max_output_tokens": 128_000,
    "default_max_tokens": 16_384,
    "max_messages": None,
    "supports_web_search": False,
}

CHAT_MODELS = Operation(
    name="chat_models",
    handle=list_chat_models,
    methods=("GET", "HEAD"),
    path="/chat/models",
    # Other paths below /chat at the root are a page's.
    root_prefix="/chat/models",
    operation_id="list_chat_models",
    tag="Models",
    summary="List the chat models with their output limits",
    description="Lists the chat models with their default and maximum output.",
    answer=ChatModelList,
    answer_example={"object": "list", "data": [_CHAT_MODEL]},
    errors=KEY_ERRORS,
)

MODELS = Operation(
    name="models",
    handle=list_models,
    methods=("GET", "HEAD"),
    path="/models",
    also_at=("/v1/models",),
    operation_id="list_models",
    tag="Models",
    summary="List the models",
    description=(
        "Lists the models that the mount serves, with capabilities and prices. A request with the "
        "header `anthropic-version` gets the list in Anthropic's form, and Codex, which sends "
        "`client_version`, gets its own beside the usual one."
    ),
    answer=ModelList,
    answer_example={"object": "list", "data": [_MODEL]},
    errors=KEY_ERRORS,
)

MODEL = Operation(
    name="model",
    handle=show_model,
    methods=("GET", "HEAD"),
    path="/models/{model}",
    operation_id="get_model",
    tag="Models",
    summary="Get a model",
    description="Returns a model by its name or alias. Names can contain slashes.",
    argument="The model's name.",
    answer=ModelObject,
    answer_example=_MODEL,
    errors=(*KEY_ERRORS, 404),
)
