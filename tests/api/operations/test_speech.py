"""Speech: sound passes as it comes, and the text is charged by its characters."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.pricing.rates import Prices
from tests.api.gateway.upstream import Script, answer, head, raw
from tests.api.gateway.world import Reply, World, in_loop
from tests.support.waiting import eventually_async

Json = dict[str, Any]

CHARACTER_NANOS = 15_000  # $15 per million
TOKEN_NANOS = 600
SOUND = bytes(range(256)) * 40


def prices(**rates: Any) -> tuple[Prices]:
    return (Prices(version_id=5, effective_from=datetime(2020, 1, 1, tzinfo=UTC), **rates),)


BY_CHARACTER = {
    "kind": "speech",
    "prices": prices(extra={"character": CHARACTER_NANOS * 10**6}),
}
BY_TOKEN = {"kind": "speech", "prices": prices(input_nanos_per_million=TOKEN_NANOS * 10**6)}


def sound(*parts: bytes | float, content_type: str = "audio/mpeg") -> Script:
    """Answer the parts, ended by closing the connection."""
    return raw(head(content_type=content_type), *parts)


async def speak(world: World, text: str = "Good morning!", **fields: Any) -> Reply:
    body = {"model": "public-model", "input": text, "voice": "alloy", **fields}
    return await world.post(body, "/v1/audio/speech")


@pytest.mark.parametrize("content_type", ["audio/mpeg", "audio/wav", "application/octet-stream"])
@in_loop
async def test_the_sound_passes_and_characters_are_charged(content_type: str) -> None:
    # Thirteen characters in sixteen bytes.
    async with World(
        sound(SOUND, content_type=content_type),
        **BY_CHARACTER,
    ) as world:
        reply = await speak(world, "Grüße, Köln! ", response_format="mp3", novelty=1)
    assert (reply.status, reply.body, reply.is_complete) == (200, SOUND, True)
    assert reply.headers["content-type"] == content_type
    assert reply.headers["x-request-cost"] == "0.000195000"
    assert "x-request-id" in reply.headers
    assert world.upstream.calls == [
        {
            "model": "upstream-model",
            "input": "Grüße, Köln! ",
            "voice": "alloy",
            "response_format": "mp3",
        }
    ]
    sent = world.upstream.heads[0].lower()
    assert sent.startswith("post /v1/audio/speech ")
    assert "accept: */*" in sent
    settled = world.gate.only
    assert (settled.endpoint, settled.outcome, settled.source) == (
        "audio_speech",
        "completed",
        "upstream",
    )
    assert settled.lines == (
        ("character", 13, CHARACTER_NANOS * 10**6, 10**6, 13 * CHARACTER_NANOS),
    )
    assert world.gate.admissions[0].amount_nanos == 13 * CHARACTER_NANOS
    assert settled.first_token_ms is not None


@in_loop
async def test_parts_pass_as_they_come_and_the_last_waits_for_the_settlement() -> None:
    async with World(sound(b"one", 0.1, b"two", 0.1, b"three"), **BY_CHARACTER) as world:
        world.gate.receipts_wait = asyncio.Event()
        reply = Reply()
        body = {"model": "public-model", "input": "Hi"}
        sending = asyncio.get_running_loop().create_task(
            world.send(body, reply, "/v1/audio/speech")
        )
        await eventually_async(lambda: world.gate.settlements)
        assert (reply.body, reply.is_complete) == (b"onetwo", False)
        world.gate.receipts_wait.set()
        await sending
    assert (reply.body, reply.is_complete) == (b"onetwothree", True)


@in_loop
async def test_by_tokens_the_text_and_its_instructions_are_estimated() -> None:
    async with World(sound(SOUND), **BY_TOKEN) as world:
        await speak(world, "x" * 400, instructions="y" * 40)
    settled = world.gate.only
    assert (settled.source, settled.input_tokens, settled.input_nanos) == (
        "estimated",
        110,
        110 * TOKEN_NANOS,
    )
    assert world.gate.admissions[0].amount_nanos == (440 + 64) * TOKEN_NANOS


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (sound(), 502),
        (sound(b'{"error": {"message": "no"}}', content_type="application/json"), 502),
        (sound(b"<html>", content_type="text/html"), 502),
        (sound(SOUND, content_type="audio/x\x7f"), 502),
        (answer({"error": {"message": "No such voice"}}, 400), 400),
        (answer(b"{}", 429), 429),
        (raw(), 502),
    ],
)
@in_loop
async def test_what_is_no_sound_is_an_error_and_free(script: Script, status: int) -> None:
    async with World(script, **BY_CHARACTER) as world:
        reply = await speak(world)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert "x-request-cost" not in reply.headers
    assert (world.gate.only.source, world.gate.only.units_nanos) == ("none", 0)


@in_loop
async def test_sound_that_breaks_off_ends_the_response_early_and_is_free() -> None:
    broken = raw(head(content_type="audio/mpeg", content_length="9000"), b"one", 0.1, b"two", 0.1)
    async with World(broken, sound(SOUND), **BY_CHARACTER) as world:
        reply = await speak(world)
        assert len(world.upstream.calls) == 1
    assert (reply.status, reply.body, reply.is_complete) == (200, b"one", False)
    settled = world.gate.only
    assert (settled.outcome, settled.source, settled.units_nanos) == ("upstream_error", "none", 0)


@in_loop
async def test_sound_that_is_too_large_is_cut_and_free() -> None:
    limits = {"max_answer_bytes": 5}
    async with World(sound(b"one", 0.1, b"two", 0.1), limits=limits, **BY_CHARACTER) as world:
        reply = await speak(world)
    assert reply.status == 502
    assert world.gate.only.units_nanos == 0


@in_loop
async def test_a_bad_moment_is_tried_again_and_charged_once() -> None:
    async with World(answer(b"{}", 503), sound(SOUND), **BY_CHARACTER) as world:
        reply = await speak(world)
    assert (reply.status, reply.body) == (200, SOUND)
    assert [attempt["status"] for attempt in world.gate.only.attempts] == [503, 200]
    assert world.gate.only.units_nanos == 13 * CHARACTER_NANOS


@in_loop
async def test_a_client_that_disconnects_pays_for_the_text_and_stops_the_upstream() -> None:
    async with World(sound(b"one", 0.1, b"two", 5.0), **BY_CHARACTER) as world:
        reply = Reply()
        body = {"model": "public-model", "input": "x" * 100}
        task = asyncio.get_running_loop().create_task(world.send(body, reply, "/v1/audio/speech"))
        await eventually_async(lambda: reply.body)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    settled = world.gate.only
    assert (settled.outcome, settled.source, settled.units_nanos) == (
        "client_closed",
        "estimated",
        100 * CHARACTER_NANOS,
    )


@in_loop
async def test_an_upstream_that_falls_silent_is_an_error_and_free() -> None:
    async with World(
        sound(b"one", 0.1, b"two", 5.0), upstream={"idle_timeout_seconds": 0.2}, **BY_CHARACTER
    ) as world:
        reply = await speak(world)
    assert (reply.body, reply.is_complete) == (b"one", False)
    assert world.gate.only.outcome == "upstream_timeout"
    assert world.gate.only.units_nanos == 0


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"text": None}, "invalid_type", "input"),
        ({"text": ""}, "invalid_value", "input"),
        ({"text": " \n"}, "invalid_value", "input"),
        ({"text": "x" * 100_001}, "invalid_value", "input"),
        ({"speed": 5}, "invalid_value", "speed"),
        ({"voice": 5}, "invalid_type", "voice"),
        ({"stream_format": "sse"}, "unsupported_parameter", "stream_format"),
        ({"stream_format": "wave"}, "invalid_value", "stream_format"),
        ({"stream": True}, "unsupported_parameter", "stream"),
        ({"instructions": "Slowly"}, "unsupported_parameter", "instructions"),
    ],
)
@in_loop
async def test_what_is_wrong_is_named(fields: Json, code: str, param: str) -> None:
    refused = {"refused_parameters": ("instructions",)}
    async with World(sound(SOUND), **BY_CHARACTER, **refused) as world:
        reply = await speak(world, **fields)
    assert reply.status == 400
    assert (reply.json["error"]["code"], reply.json["error"]["param"]) == (code, param)
    assert world.gate.settlements == []
    assert world.upstream.calls == []


@in_loop
async def test_a_model_of_another_kind_or_priced_by_something_else_does_not_speak() -> None:
    async with World(sound(SOUND)) as world:
        refused = await speak(world)
    async with World(
        sound(SOUND), kind="speech", prices=prices(output_nanos_per_million=5)
    ) as world:
        unpriced = await speak(world)
    assert (refused.status, refused.json["error"]["param"]) == (400, "model")
    assert unpriced.status == 503
