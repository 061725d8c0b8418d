"""What the relay answers, as structs whose JSON schemas the OpenAPI document shows.

They describe and decode nothing: answers pass as the upstream's bytes. Unknown members may follow.
"""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from api.requests import ToolCall

UnixSeconds = Annotated[int, Meta(ge=0, description="Unix time in seconds.")]
Tokens = Annotated[int, Meta(ge=0)]
DecimalText = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?$")]
Unit = Annotated[DecimalText, Meta(description="Dollars, as an exact decimal.")]


class PromptTokensDetails(Struct):
    """What the prompt's tokens were made up of."""

    cached_tokens: Annotated[Tokens, Meta(description="Read from the cache, at its price.")] = 0


class CompletionTokensDetails(Struct):
    """What the completion's tokens were made up of."""

    reasoning_tokens: Annotated[Tokens, Meta(description="Spent on reasoning; billed.")] = 0


class Usage(Struct):
    """The tokens that are billed."""

    prompt_tokens: Tokens
    completion_tokens: Tokens
    total_tokens: Tokens
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    cost: Annotated[float, Meta(description="In dollars; in streams only.")] | UnsetType = UNSET


class AnswerMessage(Struct):
    """The model's message. Which of the reasoning fields is there, the mount decides."""

    role: Literal["assistant"]
    content: str | None = None
    reasoning: Annotated[str, Meta(description="Under `/` and `/v1`.")] | None = None
    reasoning_content: Annotated[str, Meta(description="Under `/api/…`.")] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatChoice(Struct):
    """One of the `n` answers."""

    index: Annotated[int, Meta(ge=0)]
    message: AnswerMessage
    finish_reason: (
        Annotated[str, Meta(description="`stop`, `length`, `tool_calls`, `content_filter`, …")]
        | None
    )
    logprobs: dict[str, Any] | None = None


class ChatCompletion(Struct):
    """A chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: UnixSeconds
    model: Annotated[str, Meta(description="The name that the request called the model by.")]
    choices: list[ChatChoice]
    usage: Usage


class Delta(Struct):
    """What an event adds to a choice's message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChunkChoice(Struct):
    """A part of one of the `n` answers. The last one has an empty delta and the reason."""

    index: Annotated[int, Meta(ge=0)]
    delta: Delta
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class ChatCompletionChunk(Struct):
    """The data of one event of a stream. After the last comes `data: [DONE]`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: UnixSeconds
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class ErrorObject(Struct):
    """What went wrong. Act on the HTTP status and on `code`."""

    message: Annotated[str, Meta(description="For people: what is wrong and what to do.")]
    type: str
    code: str
    param: (
        Annotated[
            str,
            Meta(
                description="The offending field, such as `messages[2].content`. Some 401 lack it."
            ),
        ]
        | None
    ) = None


class Error(Struct):
    """The one form of all errors."""

    error: ErrorObject


class TextChoice(Struct):
    """One of the texts; in a stream, a part of one."""

    text: str
    index: Annotated[int, Meta(ge=0)]
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class TextCompletion(Struct):
    """A legacy completion. A stream's events are of this form, too, without the usage."""

    id: str
    object: Literal["text_completion"]
    created: UnixSeconds
    model: str
    choices: list[TextChoice]
    usage: Usage | None = None


class Picture(Struct):
    """A picture: by its address, or in itself."""

    url: Annotated[str, Meta(description="Where it is; nobody but you fetches it.")] | None = None
    b64_json: Annotated[str, Meta(description="The picture in base64.")] | None = None
    revised_prompt: str | None = None


class Pictures(Struct):
    """The pictures that were made. Each is paid for; those that failed are not."""

    created: UnixSeconds
    data: Annotated[list[Picture], Meta(min_length=1)]


VideoId = Annotated[str, Meta(pattern="^video-[0-9a-f]{32}$")]


class VideoOrder(Struct):
    """A video that is being made: ask for it by its id."""

    id: VideoId
    status: Literal["processing"]


class Video(Struct):
    """How a video is coming along. Only a completed one is paid for."""

    id: VideoId
    status: Literal["processing", "completed", "failed"]
    video_url: str | UnsetType = UNSET
    error: ErrorObject | UnsetType = UNSET


class Pricing(Struct):
    """What is paid, in dollars as exact decimals: per token, and per piece."""

    prompt: Unit | UnsetType = UNSET
    completion: Unit | UnsetType = UNSET
    input_cache_read: Unit | UnsetType = UNSET
    internal_reasoning: Unit | UnsetType = UNSET
    image: Unit | UnsetType = UNSET
    second: Unit | UnsetType = UNSET
    video: Unit | UnsetType = UNSET
    request: Unit | UnsetType = UNSET


class Datacenter(Struct):
    """Where a model runs."""

    country_code: Annotated[str, Meta(min_length=2, max_length=2)]


class ModelObject(Struct):
    """A model of the catalogue."""

    id: Annotated[str, Meta(description="What requests call the model by.")]
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

    key: Annotated[str, Meta(description="What requests call the model by; `id` again.")]
    max_output_tokens: Tokens
    default_max_tokens: Annotated[Tokens, Meta(description="Without `max_tokens`.")] | None
    max_messages: Annotated[int, Meta(ge=1)] | None
    supports_web_search: bool


class ChatModelList(Struct):
    """The chat models that the mount serves."""

    object: Literal["list"]
    data: list[ChatModelObject]


class Health(Struct):
    """How the service and its models do."""

    status: Literal["ok"]
    version: str
    models: Annotated[
        dict[str, Literal["operational", "degraded", "offline"]],
        Meta(description="By what requests saw of each model in the last minutes."),
    ]
