"""`POST …/audio/transcriptions`: speech as text, charged by the seconds of sound or by tokens."""

import math
import struct
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import AnswerContext, Dialect, DialectError, ParsedRequest
from api.dialects.counted import meter_counted
from api.dialects.fields import names_of
from api.dialects.form import FormDialect, FormFile, take_file
from api.dialects.usage import Metered, MeteringLimits
from api.gateway.quote import Quote, check_priced, check_served, find_sold, quote_counted
from api.operations.base import (
    MODEL_NOTE,
    PASSED_ON_NOTE,
    USER_NOTE,
    AnyFile,
    DocsPage,
    Playground,
    check_not_streamed,
    metered,
)
from api.operations.images import shown_words
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained
from billing.pricing.charge import Usage

# Subtitles are made here of the segments that `verbose_json` has, which also says the duration.
SUBTITLES = {"srt": "application/x-subrip; charset=utf-8", "vtt": "text/vtt; charset=utf-8"}
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
# The lowest bitrate of the formats that transcribers take is Opus's 6 kbit/s (RFC 6716, 2.1.1), so
# a file has at most a second for each 750 bytes. What an upstream reports beyond that, which takes
# a file of silence in a lossless format, is estimated.
LEAST_BYTES_PER_SECOND = 750
# 64 kbit/s, as voice memos and podcasts have it.
LIKELY_BYTES_PER_SECOND = 8_000
# Durations are rounded up, and decoders pad the end.
SLACK_SECONDS = 1
# OpenAI's models count a token for each tenth of a second.
TOKENS_PER_SECOND = 10

Word = Annotated[str, Meta(min_length=1, max_length=64)]
Words = Annotated[list[Word], Meta(min_length=1, max_length=16)]

_encode = msgspec.json.Encoder().encode


class TranscriptionRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for a transcription, as far as we must know them."""

    file: AnyFile
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    language: Word | None = None
    prompt: Annotated[str, Meta(max_length=100_000)] | None = None
    response_format: Word | None = None
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    timestamp_granularities: Word | Words | None = None
    stream: bool | None = None
    user: str | None = None


class Duration(NamedTuple):
    """A file's length in whole seconds: `most` is never exceeded, `likely` is a guess."""

    likely: int
    most: int


def duration_of(data: bytes) -> Duration:
    """Return how long the sound in a file is: exactly for plain WAV, else bounded by its bytes."""
    per_second = _wav_bytes_per_second(data)
    if per_second:
        seconds = math.ceil(len(data) / per_second)
        return Duration(seconds, seconds + SLACK_SECONDS)
    most = math.ceil(len(data) / LEAST_BYTES_PER_SECOND) + SLACK_SECONDS
    return Duration(min(math.ceil(len(data) / LIKELY_BYTES_PER_SECOND), most), most)


def _wav_bytes_per_second(data: bytes) -> int:
    """Return the bytes of a second of uncompressed WAV, or 0 for anything else.

    They come from the sample rate and the size of a sample, by which decoders go as well; a stated
    byte rate would be as good as the client says. A compressed WAV is bounded as any file.
    """
    if data[:4] != b"RIFF" or data[8:16] != b"WAVEfmt " or len(data) < 36:
        return 0
    kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, 20)
    if kind not in {1, 3} or bits not in {8, 16, 24, 32, 64} or not 1 <= channels <= 64:
        return 0
    return int(rate * channels * bits // 8)


def parse_transcription(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a request for a transcription. Raise a 400 error of `api.errors`."""
    take_file(fields, "file")
    try:
        # A form has nothing but texts.
        request = msgspec.convert(fields, TranscriptionRequest, strict=False)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_not_streamed({"stream": request.stream})
    if request.response_format not in {None, *FORMATS}:
        raise errors.InvalidValueError(
            Phrase(
                "Invalid value: '{response_format}'. Supported values are: {formats}.",
                response_format=errors.quoted(request.response_format or ""),
                formats=", ".join(map(repr, FORMATS)),
            ),
            param="response_format",
        )
    wanted = request.response_format or "json"
    text_type = "text/plain; charset=utf-8" if wanted == "text" else "application/json"
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=shown_words(fields),
        end_user=request.user or "",
        answer_type=SUBTITLES.get(wanted, text_type),
        typed=request,
    )


class _Reported(Struct, gc=False):
    text: str
    duration: Any = None
    usage: Any = None
    segments: Any = None


class _Segment(Struct, gc=False):
    """A segment of the text with its times, in seconds from the beginning."""

    start: Annotated[float, Meta(ge=0, le=10**7)]
    end: Annotated[float, Meta(ge=0, le=10**7)]
    text: str


_decode = msgspec.json.Decoder(_Reported).decode
# What is not read stays bytes, so that it passes as it came.
_decode_shallow = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class TranscriptionAnswer:
    """The text, and what else came of it.

    Raise DialectError without a text, or without its times where subtitles are to be made.
    """

    finish_reason = ""

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        self._body = body
        self._context = context
        try:
            self._reported = reported = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "the answer has no text") from None
        self._segments: list[_Segment] = []
        if context.request.typed.response_format in SUBTITLES:
            self._segments = _segments_of(reported.segments)
        self.text_bytes = len(reported.text.encode())
        self._usage = reported.usage if isinstance(reported.usage, dict) else {}

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the seconds and tokens that the upstream reported, if they can be true."""
        usage = self._usage
        seconds = _whole_seconds(usage.get("seconds")) or _whole_seconds(self._reported.duration)
        found = {
            "audio_second": seconds,
            "input": usage.get("input_tokens", usage.get("prompt_tokens")),
            "output": usage.get("output_tokens", usage.get("completion_tokens")),
        }
        return meter_counted(found, limits)

    def body(self, usage: Usage) -> bytes:
        """Return the answer in the format that the client asked for, with the charged usage."""
        wanted = self._context.request.typed.response_format
        if wanted == "text":
            return self._reported.text.encode()
        if wanted in SUBTITLES:
            return subtitles(self._segments, wanted)
        shown: dict[str, Any] = {"text": self._reported.text}
        if wanted == "verbose_json" or self._context.request.fields["response_format"] == "json":
            shown = _decode_shallow(self._body)
        if "model" in shown:
            shown["model"] = self._context.public_name
        if usage.input_tokens:
            shown["usage"] = {
                **self._usage,
                "type": "tokens",
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.input_tokens + usage.output_tokens,
            }
        elif seconds := usage.units.get("audio_second"):
            shown["usage"] = {"type": "duration", "seconds": seconds}
        return _encode(shown)


def _segments_of(reported: object) -> list[_Segment]:
    """Return the segments that an upstream reported. Raise DialectError for anything else."""
    try:
        return msgspec.convert(reported, list[_Segment], strict=False)
    except msgspec.ValidationError:
        raise DialectError("bad_answer", "the answer has no segments with their times") from None


def subtitles(segments: list[_Segment], form: str) -> bytes:
    """Return the segments as SubRip (`srt`) or as WebVTT (`vtt`, W3C)."""
    mark = "," if form == "srt" else "."
    cues = []
    for number, segment in enumerate(segments, 1):
        times = f"{_clock(segment.start, mark)} --> {_clock(segment.end, mark)}"
        # An empty line ends a cue, and an arrow would be read as another cue's times.
        lines = [line.strip() for line in segment.text.splitlines()]
        text = "\n".join(filter(None, lines)).replace("-->", "->")
        cues.append(f"{number}\n{times}\n{text}\n" if form == "srt" else f"{times}\n{text}\n")
    head = [] if form == "srt" else ["WEBVTT\n"]
    return "\n".join([*head, *cues]).encode()


def _clock(seconds: float, mark: str) -> str:
    """Return a time as subtitles have it, with `mark` before its milliseconds."""
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}{mark}{milliseconds:03d}"


def _whole_seconds(duration: object) -> int | None:
    """Return a duration in whole seconds, rounded up, or None for what is none."""
    try:
        seconds = float(duration)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return math.ceil(seconds) if math.isfinite(seconds) and seconds > 0 else None


class TranscriptionDialect(FormDialect):
    """OpenAI's transcriptions."""

    known_fields = names_of(TranscriptionRequest)
    name = "openai_transcriptions"
    path = "/audio/transcriptions"
    parse = staticmethod(parse_transcription)
    read_answer = staticmethod(TranscriptionAnswer)


def quote_transcription(
    operation: str, dialect: Dialect, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of a request for a transcription. Raise an error of `api.errors`.

    Where seconds have a price, the upstream is asked for the form that names the duration, unless
    the row refuses it; the client gets the one that it asked for. Tokens are held for up to the
    model's context and its longest output, as nothing of a file bounds them more closely.
    """
    sold = model, prices = find_sold(snapshot, request.model)
    check_served(model, surface, request, "transcription", Phrase("transcriptions"))
    check_priced(prices, "audio_second", "input")
    asked: TranscriptionRequest = request.typed
    refuses_times = bool(model.refused_by({"response_format.verbose_json"}))
    if asked.response_format in SUBTITLES and refuses_times:
        raise errors.UnsupportedParameterError(
            Phrase(
                "Invalid value: '{response_format}'. '{model}' doesn't return timestamps, "
                "which subtitles need. Use 'json' or 'text'.",
                response_format=asked.response_format,
                model=request.model,
            ),
            param="response_format",
        )
    has_times = asked.response_format in {"verbose_json", *SUBTITLES}
    is_timed = "audio_second" in prices.bounds and not refuses_times
    asked_upstream = "verbose_json" if has_times or is_timed else "json"
    request.fields = {**request.fields, "response_format": asked_upstream}
    file: FormFile = request.fields["file"]
    duration = duration_of(file.data)
    takes_tokens = "input" in prices.bounds or "output" in prices.bounds
    max_tokens = model.max_output_tokens if takes_tokens else 0
    context = model.context_tokens if takes_tokens else 0
    return quote_counted(
        operation,
        dialect,
        snapshot,
        request,
        sold=sold,
        most=Usage(
            input_tokens=context,
            output_tokens=max_tokens,
            units={"audio_second": duration.most},
        ),
        likely=Usage(
            input_tokens=min(duration.likely * TOKENS_PER_SECOND, context),
            units={"audio_second": duration.likely},
        ),
        max_tokens=max_tokens,
    )


class TranscriptionUsage(Struct):
    """What is billed: seconds of sound, or tokens."""

    type: Annotated[str, Meta(description="`duration` or `tokens`.")]
    seconds: int | UnsetType = UNSET
    input_tokens: int | UnsetType = UNSET
    output_tokens: int | UnsetType = UNSET
    total_tokens: int | UnsetType = UNSET


class Transcription(Struct):
    """What was said. `verbose_json` has more: the language, and segments with their times."""

    text: str
    language: str | UnsetType = UNSET
    duration: Annotated[float | str, Meta(description="In seconds.")] | UnsetType = UNSET
    segments: list[dict[str, Any]] | UnsetType = UNSET
    words: list[dict[str, Any]] | UnsetType = UNSET
    usage: TranscriptionUsage | UnsetType = UNSET


TRANSCRIPTIONS = metered(
    name="audio_transcriptions",
    dialect=TranscriptionDialect(),
    quote=quote_transcription,
    path="/audio/transcriptions",
    operation_id="create_transcription",
    tag="Audio",
    summary="Transcribe speech",
    description="Turns speech into text. Send the file as a multipart form.",
    body=TranscriptionRequest,
    files=("file",),
    notes={
        "file": "The file, such as MP3, M4A, WAV, FLAC, OGG or WebM.",
        "model": MODEL_NOTE,
        "language": "The spoken language, such as `en`, if known.",
        "prompt": "Words or names to expect, or the preceding text.",
        "response_format": "`json` (default), `text`, `verbose_json` with timestamps, or "
        "subtitles: `srt` or `vtt`.",
        "temperature": PASSED_ON_NOTE,
        "timestamp_granularities": "`word` or `segment`, for `verbose_json`.",
        "stream": "Only `false`: this endpoint doesn't stream.",
        "user": USER_NOTE,
    },
    examples={"Minimal": {"file": "speech.mp3", "model": "whisper-1"}},
    answer=Transcription,
    answer_example={"text": "Good morning!", "usage": {"type": "duration", "seconds": 2}},
    answer_types=("text/plain", "application/x-subrip", "text/vtt"),
    model_kind="transcription",
    page=DocsPage(
        slug="transcriptions",
        title="Transcription",
        summary="Turn speech into text.",
        charge=(
            "Per second of audio, rounded up to a whole second, or per token, depending on the "
            "model. While the request runs, the maximum cost of a file of its size is held; for "
            "WAV files the exact length is known. Failed requests are free."
        ),
    ),
    playground=Playground(
        common=("file", "model", "language", "response_format"),
        call="audio.transcriptions.create",
        takes=(
            "file",
            "model",
            "language",
            "prompt",
            "response_format",
            "temperature",
            "timestamp_granularities",
        ),
        prints="answer.text",
    ),
)
