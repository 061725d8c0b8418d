"""`POST …/embeddings`: vectors of texts, charged by input tokens alone.

The vectors pass as the upstream gives them, floats or base64; what is checked is that each input
has one, and in which order.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import (
    AnswerContext,
    Dialect,
    DialectError,
    OpenAiFamily,
    ParsedRequest,
    named,
)
from api.dialects.fields import names_of
from api.dialects.openai_completions import check_texts, size_of_texts, texts_of
from api.dialects.usage import Metered, MeteringLimits, meter
from api.gateway.quote import Quote, check_served, estimate_prompt, find_sold
from api.operations.base import (
    MODEL_NOTE,
    USER_NOTE,
    DocsPage,
    Playground,
    Tokens,
    check_not_streamed,
    metered,
)
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained
from billing.pricing.charge import Usage
from billing.pricing.charge import quote as quoted_nanos

# OpenAI's limits of one request.
MAX_INPUTS = 2_048
MAX_DIMENSIONS = 65_536

_encode = msgspec.json.Encoder().encode


class EmbeddingRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for embeddings, as far as we must know them."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    input: str | Annotated[list[Any], Meta(min_length=1, max_length=MAX_INPUTS)]
    dimensions: Annotated[int, Meta(ge=1, le=MAX_DIMENSIONS)] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


def parse_embeddings(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a request for embeddings. Raise a 400 error of `api.errors`."""
    try:
        request = msgspec.convert(fields, EmbeddingRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    if not isinstance(request.input, str):
        check_texts(request.input, "input")
    texts = texts_of(request.input)
    for index, text in enumerate(texts):
        if not text:
            place = "input" if text is request.input else f"input[{index}]"
            raise errors.InvalidValueError(
                Phrase("Invalid '{place}': expected a non-empty string.", place=place),
                param=place,
            )
    check_not_streamed(fields)
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=named(fields),
        prompt=size_of_texts(texts),
        # Generated are no answers: what is metered is the input.
        choices=0,
        end_user=request.user or "",
        typed=request,
    )


class _Vector(Struct, gc=False):
    embedding: Annotated[list[float], Meta(min_length=1)] | Annotated[str, Meta(min_length=1)]
    index: int | None = None


class _Reported(Struct, gc=False):
    data: list[_Vector]
    usage: Any = None


_decode = msgspec.json.Decoder(_Reported).decode
# The vectors stay bytes, so that they pass as they came.
_decode_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class EmbeddingsAnswer:
    """The vectors of the inputs. Raise DialectError if not every input has its own."""

    text_bytes = 0
    finish_reason = ""

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        self._body = body
        self._name = context.public_name
        try:
            reported = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "the answer has no embeddings") from None
        expected = context.request.prompt.prompts
        if len(reported.data) != expected:
            raise DialectError(
                "bad_answer", f"{len(reported.data)} embeddings came for {expected} inputs"
            )
        for place, vector in enumerate(reported.data):
            if vector.index is not None and vector.index != place:
                raise DialectError("bad_answer", "the embeddings are not in the inputs' order")
        self._usage = reported.usage

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the input tokens that the upstream reported, if they can be true."""
        usage = self._usage
        if isinstance(usage, dict):
            # Output is not a thing here, and not every upstream says so.
            usage = {**usage, "completion_tokens": 0}
        metered = meter(usage, 0, limits)
        found = metered.usage
        if found is not None:
            found = Usage(input_tokens=found.input_tokens)
        return metered._replace(usage=found, is_empty=False)

    def body(self, usage: Usage) -> bytes:
        """Return the answer with the model's public name and the usage that is charged."""
        answer: dict[str, Any] = _decode_shallow(self._body)
        tokens = usage.input_tokens
        answer["model"] = self._name
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _encode(answer)


class EmbeddingsDialect(OpenAiFamily):
    """OpenAI's embeddings."""

    known_fields = names_of(EmbeddingRequest)
    name = "openai_embeddings"
    path = "/embeddings"
    parse = staticmethod(parse_embeddings)
    read_answer = staticmethod(EmbeddingsAnswer)


def quote_embeddings(
    operation: str, dialect: Dialect, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of a request for embeddings. Raise an error of `api.errors`."""
    model, prices = find_sold(snapshot, request.model)
    check_served(model, surface, request, "embedding", Phrase("embeddings"))
    prompt = estimate_prompt(request, model)
    for index, text in enumerate(texts_of(request.typed.input)):
        if not isinstance(text, str) and len(text) > model.context_tokens:
            raise errors.ContextLengthError(
                Phrase(
                    "'input[{index}]' has {tokens} tokens, and the model takes {context_tokens} "
                    "for each input. Send it in parts.",
                    index=index,
                    tokens=len(text),
                    context_tokens=model.context_tokens,
                ),
                param="input",
            )
    amount = quoted_nanos(prices, input_tokens_max=prompt.most)
    return Quote(
        operation=operation,
        dialect=dialect,
        request=request,
        model=model,
        prices=prices,
        prompt=prompt,
        amount_nanos=amount,
        minimum_nanos=amount,
        catalogue_version=snapshot.version,
        limited_tokens=prompt.likely,
    )


class Embedding(Struct):
    """The vector of one input."""

    object: Literal["embedding"]
    index: Annotated[int, Meta(ge=0, description="The input's index.")]
    embedding: Annotated[
        list[float] | str,
        Meta(description="An array of numbers; with `base64`, little-endian 32-bit floats."),
    ]


class EmbeddingUsage(Struct):
    """The tokens that are billed."""

    prompt_tokens: Tokens
    total_tokens: Tokens


class EmbeddingList(Struct):
    """A vector for each input, in the inputs' order."""

    object: Literal["list"]
    data: list[Embedding]
    model: Annotated[str, Meta(description="The model's name, as in the request.")]
    usage: EmbeddingUsage


EMBEDDINGS = metered(
    name="embeddings",
    dialect=EmbeddingsDialect(),
    quote=quote_embeddings,
    path="/embeddings",
    operation_id="create_embeddings",
    tag="Embeddings",
    summary="Create embeddings",
    description=(
        "Turns text into vectors for search, clustering and comparison. A request takes up to "
        "2,048 inputs."
    ),
    body=EmbeddingRequest,
    notes={
        "model": MODEL_NOTE,
        "input": "A string, a list of strings, a list of token ids, or a list of such lists.",
        "dimensions": "The length of the vectors, if the model can shorten them.",
        "encoding_format": "`float` (default) or `base64`.",
        "user": USER_NOTE,
    },
    examples={
        "Minimal": {
            "model": "text-embedding-3-small",
            "input": "The quick brown fox",
        }
    },
    answer=EmbeddingList,
    answer_example={
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.0123, -0.0456, 0.0789]}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    },
    model_kind="embedding",
    page=DocsPage(
        slug="embeddings",
        title="Embeddings",
        summary="Turn text into vectors.",
        charge=(
            "Input tokens are charged, as the model counts them. The vectors themselves are free, "
            "whatever their length. Failed requests are free."
        ),
    ),
    playground=Playground(
        common=("model", "input", "dimensions", "encoding_format"),
        call="embeddings.create",
        takes=("model", "input", "dimensions", "encoding_format", "user"),
        prints="answer.data[0].embedding",
    ),
)
