"""`POST …/moderations`: whether texts or pictures are harmful, in OpenAI's categories."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

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
from api.dialects.counted import meter_counted
from api.dialects.fields import names_of
from api.dialects.openai_chat.messages import ImagePart, TextPart
from api.dialects.prompt import PromptSize
from api.dialects.usage import Metered, MeteringLimits
from api.gateway.quote import Quote, check_served, find_sold, quote_counted, tokens_of
from api.operations.base import (
    MODEL_NOTE,
    USER_NOTE,
    DocsPage,
    Playground,
    check_not_streamed,
    metered,
)
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained
from billing.pricing.charge import Usage

MAX_INPUTS = 2_048
# What a tokenizer or a template may put around each text.
TOKENS_PER_TEXT = 4

_encode = msgspec.json.Encoder().encode


class ModerationRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for moderation, as far as we must know them."""

    input: (
        str | Annotated[list[str | TextPart | ImagePart], Meta(min_length=1, max_length=MAX_INPUTS)]
    )
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """All the texts of the input."""
        given = [self.input] if isinstance(self.input, str) else self.input
        return [
            each.text if isinstance(each, TextPart) else each
            for each in given
            if not isinstance(each, ImagePart)
        ]

    @property
    def results(self) -> int:
        """How many results there are: one for each of several texts, one for parts together."""
        is_one = isinstance(self.input, str) or not isinstance(self.input[0], str)
        return 1 if is_one else len(self.input)


def parse_moderation(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a request for moderation. Raise a 400 error of `api.errors`."""
    try:
        request = msgspec.convert(fields, ModerationRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_not_streamed(fields)
    images: list[str] = []
    if not isinstance(request.input, str):
        first = isinstance(request.input[0], str)
        for index, each in enumerate(request.input):
            if isinstance(each, str) is not first:
                raise errors.InvalidTypeError(
                    Phrase(
                        "Invalid type for 'input': expected a string, an array of strings, or an "
                        "array of parts; see 'input[{index}]'.",
                        index=index,
                    ),
                    param=f"input[{index}]",
                )
            if isinstance(each, ImagePart):
                images.append(f"input[{index}]")
    return ParsedRequest(
        model=request.model or "",
        fields=fields,
        size_bytes=size_bytes,
        used=named(fields),
        prompt=PromptSize(
            text_bytes=sum(len(text.encode()) for text in request.texts),
            images=len(images),
            prompts=max(1, len(request.texts) + len(images)),
        ),
        modalities=(("image", images[0]),) if images else (),
        choices=0,
        end_user=request.user or "",
        typed=request,
    )


class _Verdict(Struct, gc=False):
    flagged: bool


class _Reported(Struct, gc=False):
    results: list[_Verdict]
    usage: Any = None


_decode = msgspec.json.Decoder(_Reported).decode
# The results stay bytes, so that they pass as they came.
_decode_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class ModerationAnswer:
    """A result for each input. Raise DialectError for any other number of them."""

    text_bytes = 0
    finish_reason = ""

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        self._body = body
        self._name = context.public_name
        try:
            reported = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "the answer has no results") from None
        expected = context.request.typed.results
        if len(reported.results) != expected:
            raise DialectError(
                "bad_answer", f"{len(reported.results)} results came for {expected} inputs"
            )
        self._usage = reported.usage if isinstance(reported.usage, dict) else {}

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the input tokens that the upstream reported, if they can be true."""
        names = ("prompt_tokens", "input_tokens", "total_tokens")
        tokens = next((self._usage[name] for name in names if self._usage.get(name)), None)
        return meter_counted({"input": tokens}, limits)

    def body(self, usage: Usage) -> bytes:
        """Return the answer with the model's public name and the usage that is charged."""
        answer: dict[str, Any] = _decode_shallow(self._body)
        answer["model"] = self._name
        tokens = usage.input_tokens
        if tokens or "usage" in answer:
            answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return _encode(answer)


class ModerationDialect(OpenAiFamily):
    """OpenAI's moderations."""

    known_fields = names_of(ModerationRequest)
    name = "openai_moderations"
    path = "/moderations"
    parse = staticmethod(parse_moderation)
    read_answer = staticmethod(ModerationAnswer)


def quote_moderation(
    operation: str, dialect: Dialect, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of a request for moderation. Raise an error of `api.errors`.

    As with OpenAI, a request need not name a model: the catalogue's first for moderation is asked.
    """
    if not request.model:
        coding_only = surface.models == "coding"
        offered = snapshot.public_models(coding_only=coding_only, kind="moderation")
        if not offered:
            raise errors.MissingParameterError.about("model", param="model")
        request.model = offered[0].name
    sold = model, _ = find_sold(snapshot, request.model)
    check_served(model, surface, request, "moderation", Phrase("moderations"))
    size = request.prompt
    image_tokens = size.images * model.tokens_per_image
    overhead = TOKENS_PER_TEXT * (len(request.typed.texts) + size.images)
    return quote_counted(
        operation,
        dialect,
        snapshot,
        request,
        sold=sold,
        most=Usage(input_tokens=size.text_bytes + image_tokens + overhead),
        likely=Usage(input_tokens=tokens_of(size.text_bytes, model) + image_tokens),
    )


class ModerationResult(Struct):
    """What was found in one input."""

    flagged: Annotated[bool, Meta(description="Whether it's harmful in any category.")]
    categories: (
        Annotated[dict[str, bool], Meta(description="The categories it belongs to.")] | UnsetType
    ) = UNSET
    category_scores: (
        Annotated[dict[str, float], Meta(description="The model's confidence, from 0 to 1.")]
        | UnsetType
    ) = UNSET
    category_applied_input_types: (
        Annotated[dict[str, list[str]], Meta(description="The input types each score applies to.")]
        | UnsetType
    ) = UNSET


class Moderation(Struct):
    """A result for each input, in the inputs' order."""

    model: Annotated[str, Meta(description="The model's name, as in the request.")]
    results: Annotated[list[ModerationResult], Meta(min_length=1)]
    id: str | UnsetType = UNSET


MODERATIONS = metered(
    name="moderations",
    dialect=ModerationDialect(),
    quote=quote_moderation,
    path="/moderations",
    operation_id="create_moderation",
    tag="Moderation",
    summary="Check text and images",
    description="Reports whether text or images are harmful, and in which categories.",
    body=ModerationRequest,
    notes={
        "model": MODEL_NOTE + " Default: the first model for moderation.",
        "input": "A string, a list of strings, or the parts of one input: text and images.",
        "user": USER_NOTE,
    },
    examples={
        "Minimal": {"model": "omni-moderation-latest", "input": "I love my neighbors."},
        "Several": {"model": "omni-moderation-latest", "input": ["Hello!", "I will hurt you."]},
    },
    answer=Moderation,
    answer_example={
        "id": "modr-1",
        "model": "omni-moderation-latest",
        "results": [
            {
                "flagged": False,
                "categories": {"harassment": False, "violence": False},
                "category_scores": {"harassment": 0.0001, "violence": 0.0002},
            }
        ],
    },
    model_kind="moderation",
    page=DocsPage(
        slug="moderations",
        title="Moderation",
        summary="Detect harmful text and images.",
        charge=(
            "Free, per request or per input token, depending on the model. Failed requests are "
            "free."
        ),
    ),
    playground=Playground(
        common=("model", "input"),
        call="moderations.create",
        takes=("model", "input"),
        prints="answer.results[0].flagged",
    ),
)
