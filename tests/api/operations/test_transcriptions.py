"""Transcriptions: what is asked, what is held and charged, and what of an answer passes."""

import asyncio
import struct
from datetime import UTC, datetime
from typing import Any

import pytest

from api.operations.transcriptions import duration_of
from billing.pricing.rates import Prices
from tests.api.gateway.upstream import answer, raw
from tests.api.gateway.world import Reply, World, cost_of, in_loop
from tests.api.operations.forms import FORM, Field, form
from tests.support.waiting import eventually_async

Json = dict[str, Any]

SECOND_NANOS = 100_000  # $0.006 a minute
INPUT_NANOS, OUTPUT_NANOS = 2_500, 10_000
MP3 = ("speech.mp3", "audio/mpeg", b"\xff\xfb\x90\x00" * 4_000)


def prices(**rates: Any) -> tuple[Prices]:
    return (Prices(version_id=5, effective_from=datetime(2020, 1, 1, tzinfo=UTC), **rates),)


BY_SECOND = {"kind": "transcription", "prices": prices(extra={"audio_second": SECOND_NANOS})}
BY_TOKEN = {
    "kind": "transcription",
    "context_tokens": 16_000,
    "max_output_tokens": 2_000,
    "prices": prices(
        input_nanos_per_million=INPUT_NANOS * 10**6, output_nanos_per_million=OUTPUT_NANOS * 10**6
    ),
}
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 12.3,
    "text": "Good morning!",
    "segments": [{"id": 0, "start": 0.0, "end": 12.3, "text": "Good morning!"}],
}


def wav(
    seconds: float, *, rate: int = 8_000, channels: int = 1, bits: int = 16, kind: int = 1
) -> bytes:
    """Return a file of silence."""
    size = channels * bits // 8
    data = bytes(int(seconds * rate) * size)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, kind, channels, rate, rate * size, size, bits)
        + struct.pack("<4sI", b"data", len(data))
        + data
    )


async def transcribe(world: World, *fields: Field, file: Any = MP3) -> Reply:
    given = [("model", "public-model"), ("file", file), *fields]
    return await world.post(
        form(*[field for field in given if field[1] is not None]),
        "/v1/audio/transcriptions",
        headers=FORM,
    )


@in_loop
async def test_the_form_passes_and_the_seconds_are_charged_rounded_up() -> None:
    async with World(answer(VERBOSE), **BY_SECOND) as world:
        reply = await transcribe(
            world,
            ("language", "en"),
            ("response_format", "verbose_json"),
            ("timestamp_granularities[]", "word"),
            ("timestamp_granularities[]", "segment"),
            ("novelty", "1"),
        )
    usage = {"type": "duration", "seconds": 13, "cost": 0.0013}
    assert reply.json == {**VERBOSE, "usage": usage}
    assert reply.headers["x-request-cost"] == "0.001300000"
    assert world.upstream.calls == [
        {
            "model": "upstream-model",
            "file": MP3,
            "language": "en",
            "response_format": "verbose_json",
            "timestamp_granularities[]": ["word", "segment"],
        }
    ]
    assert world.upstream.heads[0].startswith("POST /v1/audio/transcriptions ")
    settled = world.gate.only
    assert (settled.endpoint, settled.outcome, settled.source) == (
        "audio_transcriptions",
        "completed",
        "upstream",
    )
    assert settled.lines == (("audio_second", 13, SECOND_NANOS, 1, 13 * SECOND_NANOS),)
    # 16,000 bytes have at most a second for each 750, and one more.
    assert world.gate.admissions[0].amount_nanos == 23 * SECOND_NANOS


@pytest.mark.parametrize("wanted", [None, "json", "text"])
@in_loop
async def test_the_client_gets_the_format_that_it_asked_for(wanted: str | None) -> None:
    async with World(answer(VERBOSE), **BY_SECOND) as world:
        reply = await transcribe(world, ("response_format", wanted))
        assert world.upstream.calls[0]["response_format"] == "verbose_json"
    if wanted == "text":
        assert (reply.headers["content-type"], reply.body) == (
            "text/plain; charset=utf-8",
            b"Good morning!",
        )
    else:
        usage = {"type": "duration", "seconds": 13, "cost": 0.0013}
        assert reply.json == {"text": "Good morning!", "usage": usage}
    assert world.gate.only.units_nanos == 13 * SECOND_NANOS


TIMED = [
    {"id": 0, "start": 0.0, "end": 1.5, "text": " Good\n\nmorning!"},
    {"id": 1, "start": "3661.25", "end": 3_662, "text": "a --> b", "tokens": [1]},
]
SRT = b"""1
00:00:00,000 --> 00:00:01,500
Good
morning!

2
01:01:01,250 --> 01:01:02,000
a -> b
"""
VTT = b"""WEBVTT

00:00:00.000 --> 00:00:01.500
Good
morning!

01:01:01.250 --> 01:01:02.000
a -> b
"""


@pytest.mark.parametrize(
    ("wanted", "media_type", "body"),
    [("srt", "application/x-subrip", SRT), ("vtt", "text/vtt", VTT)],
)
@in_loop
async def test_subtitles_are_made_of_segments(wanted: str, media_type: str, body: bytes) -> None:
    async with World(answer({**VERBOSE, "segments": TIMED}), **BY_SECOND) as world:
        reply = await transcribe(world, ("response_format", wanted))
        assert world.upstream.calls[0]["response_format"] == "verbose_json"
    assert (reply.headers["content-type"], reply.body) == (f"{media_type}; charset=utf-8", body)
    assert world.gate.only.units_nanos == 13 * SECOND_NANOS


@pytest.mark.parametrize("segments", [None, "x", [{"start": 0, "end": 1}], [{"start": -1}], [7]])
@in_loop
async def test_an_answer_without_times_makes_no_subtitles_and_is_free(segments: Any) -> None:
    async with World(answer({**VERBOSE, "segments": segments}), **BY_SECOND) as world:
        reply = await transcribe(world, ("response_format", "srt"))
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
    assert world.gate.only.units_nanos == 0


@in_loop
async def test_a_model_that_refuses_the_verbose_form_is_asked_for_json() -> None:
    refused = {"refused_parameters": ("response_format.verbose_json",)}
    made: dict[str, Any] = {"text": "Hi", "usage": {"type": "duration", "seconds": 4}}
    async with World(answer(made), **BY_SECOND, **refused) as world:
        reply = await transcribe(world)
        refusal = await transcribe(world, ("response_format", "verbose_json"))
        assert [call["response_format"] for call in world.upstream.calls] == ["json"]
    charged = cost_of(world.gate.only)
    assert reply.json == {"text": "Hi", "usage": {**made["usage"], "cost": charged}}
    assert world.gate.only.units_nanos == 4 * SECOND_NANOS
    assert (refusal.status, refusal.json["error"]["code"]) == (400, "unsupported_parameter")


@in_loop
async def test_tokens_are_held_for_up_to_the_context_and_charged_as_reported() -> None:
    usage = {
        "type": "tokens",
        "input_tokens": 123,
        "output_tokens": 4,
        "total_tokens": 127,
        "input_token_details": {"audio_tokens": 123, "text_tokens": 0},
    }
    async with World(answer({"text": "Hi", "usage": usage}), **BY_TOKEN) as world:
        reply = await transcribe(world)
    settled = world.gate.only
    assert reply.json == {"text": "Hi", "usage": {**usage, "cost": cost_of(settled)}}
    assert (settled.source, settled.input_nanos, settled.output_nanos) == (
        "upstream",
        123 * INPUT_NANOS,
        4 * OUTPUT_NANOS,
    )
    assert world.gate.admissions[0].amount_nanos == 16_000 * INPUT_NANOS + 2_000 * OUTPUT_NANOS
    assert world.gate.admissions[0].tokens == 20


@pytest.mark.parametrize(
    "usage", [{}, {"input_tokens": 10**9, "output_tokens": 4}, {"input_tokens": 5}, "none"]
)
@in_loop
async def test_tokens_that_can_not_be_true_are_estimated(usage: Any) -> None:
    async with World(answer({"text": "x" * 40, "usage": usage}), **BY_TOKEN) as world:
        await transcribe(world)
    settled = world.gate.only  # 16,000 bytes likely have two seconds
    assert (settled.source, settled.input_tokens, settled.output_tokens) == ("estimated", 20, 10)


@pytest.mark.parametrize("duration", [None, 0, -1, "x", [], 24, 10**9, 1e308])
@in_loop
async def test_a_duration_that_can_not_be_true_is_estimated(duration: Any) -> None:
    async with World(answer({**VERBOSE, "duration": duration}), **BY_SECOND) as world:
        await transcribe(world)
    one = world.gate.only
    assert (one.source, one.units_nanos) == ("estimated", 2 * SECOND_NANOS)
    assert ("rejected_usage" in one.attempts[-1]) == (duration in (24, 10**9, 1e308))


@pytest.mark.parametrize("duration", ["12.3", 12.3, 13])
@in_loop
async def test_a_duration_may_be_a_number_or_a_text(duration: Any) -> None:
    async with World(answer({**VERBOSE, "duration": duration}), **BY_SECOND) as world:
        await transcribe(world)
    assert (world.gate.only.source, world.gate.only.units_nanos) == ("upstream", 13 * SECOND_NANOS)


@pytest.mark.parametrize(
    ("data", "likely", "most"),
    [
        (wav(10), 11, 12),  # its header is a little of a second
        (wav(10, rate=44_100, channels=2, bits=24), 11, 12),
        (wav(10, kind=2), 21, 215),  # ADPCM: as any file
        (wav(10)[:30], 1, 2),
        (b"RIFF" + bytes(4) + b"WAVEfmt " + bytes(7_484), 1, 11),
        (bytes(75_000), 10, 101),
    ],
)
def test_a_files_length_is_exact_for_wav_and_bounded_for_others(
    data: bytes, likely: int, most: int
) -> None:
    assert duration_of(data) == (likely, most)


@in_loop
async def test_what_is_held_for_wav_is_its_length() -> None:
    async with World(answer({**VERBOSE, "duration": 10.0}), **BY_SECOND) as world:
        await transcribe(world, file=("a.wav", "audio/wav", wav(10)))
    assert world.gate.admissions[0].amount_nanos == 12 * SECOND_NANOS
    assert world.gate.only.units_nanos == 10 * SECOND_NANOS


@pytest.mark.parametrize("made", [{}, {"text": None}, {"error": {"message": "no"}}, b"Hi", []])
@in_loop
async def test_an_answer_without_a_text_is_none_and_free(made: Any) -> None:
    sent = made if isinstance(made, dict | bytes) else b"[]"
    async with World(answer(sent), **BY_SECOND) as world:
        reply = await transcribe(world, ("response_format", "text"))
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
    assert reply.headers["content-type"] == "application/json"
    assert (world.gate.only.source, world.gate.only.units_nanos) == ("none", 0)


@in_loop
async def test_silence_is_charged_as_any_sound() -> None:
    async with World(answer({**VERBOSE, "text": ""}), **BY_SECOND) as world:
        reply = await transcribe(world, ("response_format", "text"))
    assert (reply.status, reply.body) == (200, b"")
    assert (world.gate.only.outcome, world.gate.only.units_nanos) == (
        "completed",
        13 * SECOND_NANOS,
    )


@pytest.mark.parametrize(
    ("fields", "file", "code", "param"),
    [
        ([], None, "missing_required_parameter", "file"),
        ([], "text", "invalid_type", "file"),
        ([], ("a.mp3", "audio/mpeg", b""), "invalid_value", "file"),
        ([("file", MP3)], MP3, "invalid_type", "file"),
        ([("model", "other")], MP3, "invalid_type", "model"),
        ([("response_format", "docx")], MP3, "invalid_value", "response_format"),
        ([("response_format", "vtt")], MP3, "unsupported_parameter", "response_format"),
        ([("temperature", "hot")], MP3, "invalid_type", "temperature"),
        ([("temperature", "2")], MP3, "invalid_value", "temperature"),
        ([("stream", "true")], MP3, "unsupported_parameter", "stream"),
        ([("prompt", "Hi")], MP3, "unsupported_parameter", "prompt"),
    ],
)
@in_loop
async def test_what_is_wrong_is_named(
    fields: list[Field], file: Any, code: str, param: str
) -> None:
    refused = {"refused_parameters": ("prompt", "response_format.verbose_json")}
    async with World(answer(VERBOSE), **BY_SECOND, **refused) as world:
        reply = await transcribe(world, *fields, file=file)
    assert reply.status == 400
    assert (reply.json["error"]["code"], reply.json["error"]["param"]) == (code, param)
    assert world.gate.settlements == []
    assert world.upstream.calls == []


@in_loop
async def test_a_request_that_is_not_to_be_streamed_may_say_so() -> None:
    async with World(answer(VERBOSE), **BY_SECOND) as world:
        assert (await transcribe(world, ("stream", "false"))).status == 200


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{}", {}, 415, "unsupported_media_type"),
        (
            b"{}",
            {"content-type": "application/x-www-form-urlencoded"},
            415,
            "unsupported_media_type",
        ),
        (b"{}", {"content-type": "multipart/form-data"}, 400, "invalid_request_error"),
        (b"", FORM, 400, "missing_required_parameter"),
        (form(("model", "public-model"))[:-30], FORM, 400, "missing_required_parameter"),
        (form(("file", MP3))[:-30], FORM, 400, "missing_required_parameter"),
        (form(*[("a", "1")] * 2_000), FORM, 400, "invalid_request_error"),
        (form(("file", ("a", "b", bytes(300_000)))), FORM, 413, "request_too_large"),
    ],
    ids=["json", "urlencoded", "no boundary", "empty", "cut", "cut file", "too many", "too large"],
)
@in_loop
async def test_a_body_that_is_no_form_is_refused(
    content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    limits = {"max_body_bytes": 290_000}
    async with World(answer(VERBOSE), limits=limits, **BY_SECOND) as world:
        reply = await world.post(content, "/v1/audio/transcriptions", headers=headers)
    assert (reply.status, reply.json["error"]["code"]) == (status, code)
    assert world.upstream.calls == []


@in_loop
async def test_a_large_file_with_anything_in_it_passes_unchanged() -> None:
    data = (b"\r\n--client\r\n--\r\n\r\n" + bytes(range(256))) * 2_000
    async with World(answer(VERBOSE), **BY_SECOND) as world:
        reply = await transcribe(world, file=("a b.mp3", "audio/mpeg", data))
    assert reply.status == 200
    assert world.upstream.calls[0]["file"][2] == data
    assert world.gate.identified == 1


@in_loop
async def test_names_and_types_add_no_parts_to_the_upstreams_form() -> None:
    file = ("a%22.mp3", "audio/mpeg; x=1\tx", b"abc")
    async with World(answer(VERBOSE), **BY_SECOND) as world:
        await transcribe(world, ('x\\"; filename=\\"y', "1"), file=file)
    sent = world.upstream.calls[0]
    assert set(sent) >= {"model", "file", "response_format"}
    assert sent["file"][1:] == ("audio/mpeg", b"abc")


@in_loop
async def test_a_client_that_disconnects_pays_for_the_likely_seconds_and_stops_the_upstream() -> (
    None
):
    async with World(raw(5.0), **BY_SECOND) as world:
        content = form(("model", "public-model"), ("file", MP3))
        sending = world.send(content, Reply(), "/v1/audio/transcriptions", headers=FORM)
        task = asyncio.get_running_loop().create_task(sending)
        await eventually_async(lambda: world.upstream.calls)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    settled = world.gate.only
    assert (settled.outcome, settled.source, settled.units_nanos) == (
        "client_closed",
        "estimated",
        2 * SECOND_NANOS,
    )


@in_loop
async def test_a_bad_moment_is_tried_again_and_charged_once() -> None:
    async with World(answer(b"{}", 503), answer(VERBOSE), **BY_SECOND) as world:
        reply = await transcribe(world)
        assert [call["file"] for call in world.upstream.calls] == [MP3, MP3]
    assert reply.status == 200
    assert world.gate.only.units_nanos == 13 * SECOND_NANOS


@in_loop
async def test_a_model_of_another_kind_is_refused_and_one_without_a_price_is_not_sold() -> None:
    async with World(answer(VERBOSE)) as world:
        refused = await transcribe(world)
    async with World(answer(VERBOSE), kind="transcription", prices=prices()) as world:
        unpriced = await transcribe(world)
    assert (refused.status, refused.json["error"]["param"]) == (400, "model")
    assert unpriced.status == 503
