"""Speech and transcriptions with OpenAI's own SDK, charged to the digit."""

import io
import wave
from typing import Any

import httpx
import pytest

from tests.acceptance.talk import MOUNTS, Talk, error, talk_to
from tests.stack import Stack

SPEECH = {"model": "tts-1", "input": "Good morning! " * 20, "voice": "alloy"}
CHARACTER_NANOS = 15_000  # $15 per million
SECOND_NANOS = 100_000  # $0.0001
# $2.50 and $10 per million tokens.
HEARD_NANOS, WRITTEN_NANOS = 2_500, 10_000


@pytest.fixture
def talk(stack: Stack) -> Talk:
    return talk_to(stack)


def recording(seconds: float) -> bytes:
    """Return a WAV of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(8_000)
        made.writeframes(bytes(int(seconds * 8_000) * 2))
    return file.getvalue()


def transcribe(
    talk: Talk, mount: str = "/v1", *, seconds: float = 2.5, **fields: str
) -> httpx.Response:
    """Return the answer to a form with a recording."""
    with talk.client() as client:
        return client.post(
            f"{mount}/audio/transcriptions",
            data={"model": "whisper-1", **fields},
            files={"file": ("speech.wav", recording(seconds), "audio/wav")},
        )


@pytest.mark.parametrize("response_format", ["mp3", "wav", "pcm"])
def test_speech_is_the_upstreams_sound(openai: Any, response_format: str) -> None:
    with openai.audio.speech.with_streaming_response.create(
        **SPEECH, response_format=response_format
    ) as answer:
        sound = answer.read()
        assert answer.headers["content-type"].startswith("audio/")
    if response_format == "wav":
        with wave.open(io.BytesIO(sound)) as read:
            assert read.getnframes() > 0
    assert len(sound) > 10_000


def test_speech_is_charged_by_its_characters(stack: Stack, customer: tuple[str, str]) -> None:
    talk = Talk(stack, customer[1])
    answer = talk.post("/v1/audio/speech", SPEECH)

    assert answer.status_code == 200
    assert answer.headers["x-request-cost"] == "0.004200000"
    columns = ("charged_nanos", "reserved_nanos", "endpoint", "outcome", "source")
    assert talk.usage(answer.headers["x-request-id"], *columns) == (
        280 * CHARACTER_NANOS,
        280 * CHARACTER_NANOS,
        "audio_speech",
        "completed",
        "upstream",
    )
    balance = stack.balance(customer[0])
    assert balance["posted_nanos"] == 10_000_000_000 - 280 * CHARACTER_NANOS
    assert balance["held_nanos"] == 0
    stack.check_ledger()


@pytest.mark.parametrize("mount", [mount for mount in MOUNTS if "coding" not in mount])
def test_every_mount_speaks_and_writes_down(talk: Talk, mount: str) -> None:
    assert talk.post(f"{mount}/audio/speech", SPEECH).status_code == 200
    assert transcribe(talk, mount).status_code == 200


@pytest.mark.parametrize(
    ("simulate", "status"),
    [("body=garbage", 502), ("drop=1", 502), ("status=429", 429), ("status=400&message=No", 400)],
)
def test_what_fails_costs_nothing(talk: Talk, simulate: str, status: int) -> None:
    spoken = talk.post("/v1/audio/speech", {**SPEECH, "simulate": simulate})
    written = transcribe(talk, simulate=simulate)
    for answer in (spoken, written):
        assert answer.status_code == status
        assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source") == (0, "none")


@pytest.mark.parametrize("response_format", ["json", "text", "verbose_json"])
def test_a_transcription_comes_in_the_format_asked_for(openai: Any, response_format: str) -> None:
    made = openai.audio.transcriptions.create(
        model="whisper-1",
        file=("speech.wav", recording(2.5), "audio/wav"),
        language="en",
        response_format=response_format,
        extra_body={"simulate": "tokens=3"},
    )
    if response_format == "text":
        assert made == "sun fox map"
        return
    assert made.text == "sun fox map"
    assert (made.usage.type, made.usage.seconds) == ("duration", 3)
    if response_format == "verbose_json":
        assert float(made.duration) == 2.5


def test_a_transcription_is_charged_by_the_second(stack: Stack, customer: tuple[str, str]) -> None:
    talk = Talk(stack, customer[1])
    answer = transcribe(talk, seconds=90.2)

    cost = 91 * SECOND_NANOS / 10**9
    assert answer.json()["usage"] == {"type": "duration", "seconds": 91, "cost": cost}
    columns = ("charged_nanos", "endpoint", "outcome", "source")
    assert talk.usage(answer.headers["x-request-id"], *columns) == (
        91 * SECOND_NANOS,
        "audio_transcriptions",
        "completed",
        "upstream",
    )
    balance = stack.balance(customer[0])
    assert balance["posted_nanos"] == 10_000_000_000 - 91 * SECOND_NANOS
    assert balance["held_nanos"] == 0
    stack.check_ledger()


def test_a_transcription_is_charged_by_tokens_where_they_have_the_price(talk: Talk) -> None:
    answer = transcribe(talk, model="gpt-4o-transcribe", simulate="tokens=5")

    usage = answer.json()["usage"]
    assert (usage["type"], usage["output_tokens"]) == ("tokens", 5)
    charged = usage["input_tokens"] * HEARD_NANOS + 5 * WRITTEN_NANOS
    assert talk.usage(answer.headers["x-request-id"], "charged_nanos", "source") == (
        charged,
        "upstream",
    )


@pytest.mark.parametrize(
    ("form", "beginning"), [("srt", "1\n00:00:00,000 -->"), ("vtt", "WEBVTT\n")]
)
def test_speech_comes_as_subtitles_too(talk: Talk, form: str, beginning: str) -> None:
    answer = transcribe(talk, model="whisper-1", response_format=form, simulate="tokens=5")
    assert answer.text.startswith(beginning)
    assert talk.usage(answer.headers["x-request-id"], "source") == ("upstream",)


def test_seconds_that_nobody_reports_are_estimated(talk: Talk) -> None:
    answer = transcribe(talk, model="gpt-4o-transcribe", simulate="usage=missing&tokens=5")
    assert talk.usage(answer.headers["x-request-id"], "source", "output_tokens") == (
        "estimated",
        5,
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "tts-1"}, (400, "invalid_value", "model")),
        ({"model": "no-such"}, (404, "model_not_found", "model")),
        ({"response_format": "docx"}, (400, "invalid_value", "response_format")),
        ({"stream": "true"}, (400, "unsupported_parameter", "stream")),
    ],
)
def test_what_is_wrong_with_a_form_is_named(
    talk: Talk, fields: dict[str, str], expected: tuple[int, str, str]
) -> None:
    answer = transcribe(talk, **fields)
    assert error(answer) == expected
    assert talk.never_sent(answer)


def test_json_is_no_form_and_a_form_no_json(talk: Talk) -> None:
    json = talk.post("/v1/audio/transcriptions", {"model": "whisper-1"})
    with talk.client() as client:
        form = client.post("/v1/audio/speech", data={"model": "tts-1"}, files={"a": b"b"})
    for answer in (json, form):
        assert error(answer) == (415, "unsupported_media_type", None)
