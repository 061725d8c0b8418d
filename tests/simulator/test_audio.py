"""Speech and transcription."""

import io
import wave
from base64 import b64decode

import pytest

from tests.simulator.conftest import send_form

SPEECH = {
    "model": "sim-voice",
    "input": "A fox runs over the hill.",
    "voice": "alloy",
}  # 25: 1.25 s


def wav(seconds):
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(round(seconds * 8000) * 2))
    return file.getvalue()


def transcribe(sim, script="", data=None, **fields):
    data = wav(2.5) if data is None else data
    files = [("file", data)]
    return send_form(sim, "/v1/audio/transcriptions", {"model": "sim-ear"} | fields, files, script)


def test_speech_in_wav_is_as_long_as_its_text(sim):
    answer = sim.post("/v1/audio/speech", SPEECH | {"response_format": "wav"})

    assert answer.headers["content-type"] == "audio/wav"
    assert int(answer.headers["content-length"]) == len(answer.body)
    with wave.open(io.BytesIO(answer.body)) as reader:
        assert reader.getnframes() / reader.getframerate() == 1.25
    assert sim.entry()["units_sent"] == 25
    faster = sim.post("/audio/speech", SPEECH | {"response_format": "pcm", "speed": 2.5})
    assert faster.headers["content-type"] == "audio/pcm"
    assert len(faster.body) == 24_000  # half a second


def test_speech_is_mp3_by_default(sim):
    answer = sim.post("/audio/speech", SPEECH)

    assert answer.headers["content-type"] == "audio/mpeg"
    frames = len(answer.body) // 417
    assert answer.body == answer.body[:417] * frames
    assert answer.body.startswith(b"\xff\xfb\x90\xc4")
    assert frames == round(1.25 * 44_100 / 1_152)


def test_speech_may_be_streamed(sim):
    asked = SPEECH | {"response_format": "wav", "stream_format": "sse"}
    *deltas, done = sim.post("/audio/speech", asked).events

    sound = b"".join(b64decode(delta["audio"]) for delta in deltas)
    assert sound == sim.post("/audio/speech", SPEECH | {"response_format": "wav"}).body
    assert len(deltas) == 12
    assert done == {
        "type": "speech.audio.done",
        "usage": {"input_tokens": 7, "output_tokens": 12, "total_tokens": 19},
    }


def test_speech_can_fail_or_break_off(sim):
    assert sim.post("/audio/speech", SPEECH, "status=429").status == 429
    cut = sim.post("/audio/speech", SPEECH, "cut_after=6")
    assert 0 < len(cut.body) < int(cut.headers["content-length"])
    assert not cut.complete
    assert sim.post("/audio/speech", SPEECH | {"response_format": "opus"}).status == 400
    assert sim.post("/audio/speech", SPEECH | {"input": ""}).error["param"] == "input"


def test_a_transcript_counts_tokens(sim):
    answer = transcribe(sim, "tokens=3", prompt="four")

    assert answer.json == {
        "text": "sun fox map",
        "usage": {
            "type": "tokens",
            "input_tokens": 26,
            "input_token_details": {"audio_tokens": 25, "text_tokens": 1},
            "output_tokens": 3,
            "total_tokens": 29,
        },
    }
    assert sim.entry()["params"]["file_bytes"] == len(wav(2.5))
    assert "usage" not in transcribe(sim, "usage=missing").json


def test_a_transcript_may_be_counted_by_its_seconds(sim):
    usage = {"type": "duration", "seconds": 3}

    assert transcribe(sim, model="whisper-1").json["usage"] == usage
    assert transcribe(sim, "audio_usage=duration").json["usage"] == usage
    # What is no WAV is taken for 128 kbit/s.
    assert transcribe(sim, "audio_usage=duration", b"x" * 16_001).json["usage"]["seconds"] == 2


def test_a_transcript_has_five_forms(sim):
    def form(kind):
        return transcribe(sim, "tokens=1", response_format=kind)

    assert form("text").body == b"sun\n"
    assert form("text").headers["content-type"].startswith("text/plain")
    assert form("srt").body == b"1\n00:00:00,000 --> 00:00:02,500\nsun\n\n"
    assert form("vtt").body == b"WEBVTT\n\n00:00:00.000 --> 00:00:02.500\nsun\n\n"
    verbose = form("verbose_json").json
    assert (verbose["duration"], verbose["segments"][0]["text"]) == (2.5, "sun")
    assert verbose["usage"] == {"type": "duration", "seconds": 3}
    assert form("pdf").error["param"] == "response_format"


def test_a_transcript_may_be_streamed(sim):
    *deltas, done = transcribe(sim, "tokens=3", stream="true").events

    assert [delta["delta"] for delta in deltas] == ["sun ", "fox ", "map "]
    assert {delta["type"] for delta in deltas} == {"transcript.text.delta"}
    assert done["text"] == "sun fox map "
    assert done["usage"]["output_tokens"] == 3
    assert sim.entry()["stream"] is True


@pytest.mark.parametrize("data", [b"", None])
def test_a_recording_is_needed(sim, data):
    files = [] if data is None else [("file", data)]
    answer = send_form(sim, "/audio/transcriptions", {"model": "sim-ear"}, files)

    assert (answer.status, answer.error["param"]) == (400, "file")
