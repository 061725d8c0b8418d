"""`POST …/audio/speech`: a text read aloud. The sound passes as it comes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import (
    AnswerContext,
    Dialect,
    OpenAiFamily,
    ParsedRequest,
    named,
)
from api.dialects.fields import names_of
from api.dialects.prompt import PromptSize
from api.gateway.bytes_responder import BytesResponder
from api.gateway.quote import (
    Quote,
    check_priced,
    check_served,
    find_sold,
    quote_counted,
    tokens_of,
)
from api.operations.base import (
    MODEL_NOTE,
    PASSED_ON_NOTE,
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

MAX_CHARACTERS = 100_000
# What a template may put around the text and the instructions.
TOKENS_OF_TEMPLATE = 64

Word = Annotated[str, Meta(min_length=1, max_length=64)]


class SpeechRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for speech, as far as we must know them."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    input: Annotated[str, Meta(min_length=1, max_length=MAX_CHARACTERS)]
    voice: Annotated[str, Meta(min_length=1, max_length=200)] | dict[str, Any] | None = None
    instructions: Annotated[str, Meta(max_length=MAX_CHARACTERS)] | None = None
    response_format: Word | None = None
    speed: Annotated[float, Meta(ge=0.25, le=4)] | None = None
    stream_format: Literal["audio"] | None = None
    user: str | None = None


def parse_speech(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a request for speech. Raise a 400 error of `api.errors`."""
    if fields.get("stream_format") == "sse":
        raise errors.UnsupportedParameterError(
            Phrase("'stream_format' can only be 'audio'."),
            param="stream_format",
        )
    try:
        request = msgspec.convert(fields, SpeechRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_not_streamed(fields)
    if not request.input.strip():
        raise errors.InvalidValueError(
            Phrase("Invalid 'input': expected a non-empty string."), param="input"
        )
    text_bytes = len(request.input.encode()) + len((request.instructions or "").encode())
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=named(fields),
        prompt=PromptSize(text_bytes=text_bytes),
        choices=0,
        end_user=request.user or "",
        typed=request,
    )


class SpeechDialect(OpenAiFamily):
    """OpenAI's speech."""

    known_fields = names_of(SpeechRequest)
    name = "openai_speech"
    path = "/audio/speech"
    parse = staticmethod(parse_speech)

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers of a call whose answer may be of any type."""
        return {**super().upstream_headers(api_key), "accept": "*/*"}

    def read_answer(self, body: bytes, context: AnswerContext) -> Any:
        """Refuse: the answer is sound, which `BytesResponder` passes."""
        raise TypeError("Sound has no answer to read.")


def quote_speech(
    operation: str, dialect: Dialect, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of a request for speech. Raise an error of `api.errors`.

    Characters are Unicode's code points of the input, as OpenAI counts them; so what is held for
    them is what is charged.
    """
    sold = model, prices = find_sold(snapshot, request.model)
    check_served(model, surface, request, "speech", Phrase("speech"))
    check_priced(prices, "character", "input", "request")
    text_bytes = request.prompt.text_bytes
    characters = {"character": len(request.typed.input)}
    return quote_counted(
        operation,
        dialect,
        snapshot,
        request,
        sold=sold,
        most=Usage(input_tokens=text_bytes + TOKENS_OF_TEMPLATE, units=characters),
        likely=Usage(input_tokens=tokens_of(text_bytes, model), units=characters),
    )


SPEECH = metered(
    name="audio_speech",
    dialect=SpeechDialect(),
    quote=quote_speech,
    make_responder=BytesResponder,
    path="/audio/speech",
    operation_id="create_speech",
    tag="Audio",
    summary="Create speech",
    description=(
        "Turns text into speech. The audio is streamed as it's generated, in the format you choose."
    ),
    body=SpeechRequest,
    notes={
        "model": MODEL_NOTE,
        "input": "The text to speak.",
        "voice": "The name of one of the model's voices.",
        "instructions": "Instructions for the voice, if the model supports them.",
        "response_format": "Such as `mp3`, `opus`, `aac`, `flac`, `wav` or `pcm`. "
        + PASSED_ON_NOTE,
        "speed": "Speed, where 1 is normal.",
        "stream_format": "Only `audio`.",
        "user": USER_NOTE,
    },
    examples={"Minimal": {"model": "tts-1", "input": "Good morning!", "voice": "alloy"}},
    answer_types=("audio/*", "application/octet-stream"),
    model_kind="speech",
    page=DocsPage(
        slug="speech",
        title="Speech",
        summary="Turn text into speech.",
        charge=(
            "Per character or per token of the input, depending on the model. The audio itself is "
            "free, whatever its length. Failed requests are free; if you disconnect, the text is "
            "still charged."
        ),
    ),
    playground=Playground(
        common=("model", "input", "voice", "response_format"),
        call="audio.speech.create",
        takes=("model", "input", "voice", "instructions", "response_format", "speed"),
        prints='answer.write_to_file("speech.mp3")',
        saves="speech.mp3",
    ),
)
