"""`POST /audio/speech` and `/audio/transcriptions`: sound that can be played, and words for it."""

import base64
import io
import math
import wave
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec

from simulator import delivery, faults, text
from simulator.answer import CONTENT, AnswerRequest, PlannedAnswer, plan
from simulator.errors import SimulatedError, error_body
from simulator.events import SLOT, Chunk, EventStream, Json, grouped, limited
from simulator.exchange import HttpExchange
from simulator.form import read_form
from simulator.script import Script, split_model
from simulator.scripted_request import Flag, read_scripted_request

SAMPLE_RATE = 24_000
SAMPLE_BYTES = 2
CHARACTERS_PER_SECOND = 20
# A token of sound is a tenth of a second, as OpenAI counts what is heard.
TOKENS_PER_SECOND = 10
# What a second of a file is taken to be that tells no length: 128 kbit/s.
BYTES_PER_SECOND = 16_000
# Silence: a frame of MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono.
_MP3_FRAME = b"\xff\xfb\x90\xc4" + bytes(413)
_MP3_FRAMES_PER_SECOND = 44_100 / 1_152
_TYPES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm"}


class SpeechRequest(msgspec.Struct):
    """The fields of a speech request that change the answer."""

    model: str
    input: Annotated[str, msgspec.Meta(min_length=1)]
    voice: str | dict[str, Any]
    response_format: str = "mp3"
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] = 1.0
    stream_format: Literal["audio", "sse"] = "audio"


class TranscriptionRequest(msgspec.Struct):
    """The fields of a transcription request that change the answer."""

    model: str
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    language: str = "en"
    prompt: str = ""
    stream: Flag = None


async def speak(exchange: HttpExchange) -> None:
    """Answer with silence that is as long as the text would take to say."""
    scripted = read_scripted_request(exchange, SpeechRequest)
    request, script = scripted.fields, scripted.script
    if request.response_format not in _TYPES:
        known = ", ".join(_TYPES)
        raise SimulatedError(
            f"response_format: the simulator makes {known}", param="response_format"
        )
    size = text.text_bytes(request.input)
    seconds = len(request.input) / CHARACTERS_PER_SECOND / request.speed
    scripted.note(text.token_count(size), prompt_bytes=size)
    streamed = request.stream_format == "sse"
    if await faults.instead(exchange, script, stream=streamed):
        return
    tokens = max(round(seconds * TOKENS_PER_SECOND), 1)
    sound = _sound(request.response_format, seconds)
    exchange.entry.units_sent = len(request.input)
    if streamed:
        wanted = AnswerRequest(prompt_tokens=text.token_count(size), reasoning=False)
        answer = plan(request.model, wanted, replace(script, tokens=tokens))
        await delivery.stream(exchange, SpeechStream(answer, script, sound))
    else:
        kind = _TYPES[request.response_format]
        await delivery.whole(exchange, sound, kind, script, tokens)


async def transcribe(exchange: HttpExchange) -> None:
    """Answer with words for a recording: as many as the script says, whatever is in it."""
    form = read_form(exchange.request)
    scripted = read_scripted_request(exchange, TranscriptionRequest, form.fields)
    request, script = scripted.fields, scripted.script
    files = form.named("file")
    if len(files) != 1 or not files[0].data:
        raise SimulatedError("file: a recording is needed", param="file")
    seconds = _seconds(files[0].data)
    heard = round(seconds * TOKENS_PER_SECOND)
    prompt_tokens = heard + text.token_count(text.text_bytes(request.prompt))
    wanted = AnswerRequest(prompt_tokens=prompt_tokens, reasoning=False)
    answer = plan(request.model, wanted, script)
    scripted.note(answer.counts.prompt, files=1, file_bytes=len(files[0].data))
    if await faults.instead(exchange, script, stream=bool(request.stream)):
        return
    by_seconds = request.response_format == "verbose_json" or _counts_seconds(answer, script)
    usage: Json = {}
    if not script.usage.missing:
        usage = {"usage": _usage(answer, heard, math.ceil(seconds) if by_seconds else None)}
    if request.stream:
        await delivery.stream(exchange, TranscriptStream(answer, script, usage))
        return
    said = answer.choices[0].joined(CONTENT).strip()
    tokens = answer.counts.completion
    if request.response_format in {"json", "verbose_json"}:
        body: Json = {"text": said}
        if request.response_format == "verbose_json":
            body = _verbose(said, request.language, seconds)
        await delivery.plain(exchange, body | usage, script, tokens)
        return
    data = _subtitles(said, request.response_format, seconds).encode()
    await delivery.whole(exchange, data, "text/plain; charset=utf-8", script, tokens)


class SpeechStream(EventStream):
    """The events of spoken sound: its bytes in base64, cut evenly over its tokens."""

    def __init__(self, answer: PlannedAnswer, script: Script, sound: bytes) -> None:
        super().__init__(answer, script)
        self._sound = sound

    def opening(self) -> bytes:
        """Return nothing: the stream begins with its sound."""
        return b""

    def texts(self, limit: int | None) -> Iterator[Chunk]:
        """Yield the pieces of the sound."""
        tokens, sent, start = self.answer.counts.completion, 0, 0
        groups = grouped(self.answer.choices[0], self.script.chunk_tokens)
        for group in limited(groups, limit):
            sent += group.tokens
            end = len(self._sound) * sent // tokens
            piece = base64.b64encode(self._sound[start:end]).decode()
            start = end
            yield Chunk(
                self.events.of({"type": "speech.audio.delta", "audio": piece}), group.tokens
            )

    def closing(self) -> bytes:
        """Return the event with the usage."""
        counts = self.answer.counts
        usage = {
            "input_tokens": counts.prompt,
            "output_tokens": counts.completion,
            "total_tokens": counts.prompt + counts.completion,
        }
        told = {} if self.script.usage.missing else {"usage": usage}
        return self.events.of({"type": "speech.audio.done"} | told)

    def error(self, error: SimulatedError) -> bytes:
        """Return an error event."""
        return self.events.of(error_body(error))


class TranscriptStream(EventStream):
    """The events of a transcript."""

    def __init__(self, answer: PlannedAnswer, script: Script, usage: Json) -> None:
        super().__init__(answer, script)
        self._usage = usage

    def opening(self) -> bytes:
        """Return nothing: the stream begins with its text."""
        return b""

    def texts(self, limit: int | None) -> Iterator[Chunk]:
        """Yield the pieces of the text."""
        template = self.events.template({"type": "transcript.text.delta", "delta": SLOT})
        groups = grouped(self.answer.choices[0], self.script.chunk_tokens)
        for group in limited(groups, limit):
            yield Chunk(template.filled(group.text), group.tokens)

    def closing(self) -> bytes:
        """Return the event with the whole text and the usage."""
        said = self.answer.choices[0].joined(CONTENT)
        return self.events.of({"type": "transcript.text.done", "text": said} | self._usage)

    def error(self, error: SimulatedError) -> bytes:
        """Return an error event."""
        return self.events.of(error_body(error))


def _sound(kind: str, seconds: float) -> bytes:
    if kind == "mp3":
        return _MP3_FRAME * max(round(seconds * _MP3_FRAMES_PER_SECOND), 1)
    samples = bytes(max(round(seconds * SAMPLE_RATE), 1) * SAMPLE_BYTES)
    if kind == "pcm":
        return samples
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(SAMPLE_BYTES)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes(samples)
    return file.getvalue()


def _seconds(data: bytes) -> float:
    """Return how long a recording is: exactly for WAV, by its size for everything else."""
    try:
        with wave.open(io.BytesIO(data)) as reader:
            return reader.getnframes() / reader.getframerate()
    except (wave.Error, EOFError):
        return len(data) / BYTES_PER_SECOND


def _counts_seconds(answer: PlannedAnswer, script: Script) -> bool:
    """Return whether the usage is told in seconds: as scripted, or because it is Whisper."""
    if script.audio_usage:
        return script.audio_usage == "duration"
    return "whisper" in split_model(answer.model)[0]


def _usage(answer: PlannedAnswer, heard: int, seconds: int | None) -> Json:
    """Return the usage of a transcript: in seconds if they are given, else in tokens."""
    if seconds is not None:
        return {"type": "duration", "seconds": seconds}
    counts = answer.counts
    return {
        "type": "tokens",
        "input_tokens": counts.prompt,
        "input_token_details": {
            "audio_tokens": heard,
            "text_tokens": max(counts.prompt - heard, 0),
        },
        "output_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
    }


def _verbose(said: str, language: str, seconds: float) -> Json:
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": seconds,
        "text": said,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": -0.1,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.01,
    }
    return {
        "task": "transcribe",
        "language": language,
        "duration": seconds,
        "text": said,
        "segments": [segment],
    }


def _subtitles(said: str, kind: str, seconds: float) -> str:
    if kind == "text":
        return f"{said}\n"
    mark = "," if kind == "srt" else "."
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    hours, minutes = whole // 3600, whole // 60 % 60
    end = f"{hours:02d}:{minutes:02d}:{whole % 60:02d}{mark}{milliseconds:03d}"
    cue = f"00:00:00{mark}000 --> {end}\n{said}\n\n"
    return f"1\n{cue}" if kind == "srt" else f"WEBVTT\n\n{cue}"
