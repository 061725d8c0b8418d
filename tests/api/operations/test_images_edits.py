"""Edits of images: what is asked, what is held and charged, and what of an answer passes."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.pricing.rates import Prices
from tests.api.gateway.upstream import answer, raw
from tests.api.gateway.world import Reply, World, in_loop
from tests.api.operations.forms import FORM, Field, form
from tests.support.waiting import eventually_async

IMAGE_NANOS = 40_000_000
MODEL: dict[str, Any] = {
    "kind": "image",
    "input_modalities": ("text", "image"),
    "image_sizes": ("1024x1024",),
    "prices": (
        Prices(
            version_id=5,
            effective_from=datetime(2020, 1, 1, tzinfo=UTC),
            image_nanos=IMAGE_NANOS,
        ),
    ),
}
PNG = ("house.png", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(500))
MASK = ("mask.png", "image/png", b"\x89PNG\r\n\x1a\n" + bytes(50))


def pictures(count: int = 1) -> dict[str, Any]:
    data = [{"b64_json": f"picture{index}"} for index in range(count)]
    return {"created": 1_790_000_000, "data": data}


async def edit(world: World, *fields: Field, image: Any = PNG) -> Reply:
    given = [("model", "public-model"), ("prompt", "Winter"), ("image", image), *fields]
    return await world.post(
        form(*[field for field in given if field[1] is not None]), "/v1/images/edits", headers=FORM
    )


@in_loop
async def test_the_form_passes_and_the_images_that_came_are_charged() -> None:
    async with World(answer({**pictures(2), "usage": {"total_tokens": 5}}), **MODEL) as world:
        reply = await edit(
            world, ("mask", MASK), ("n", "3"), ("size", "1024x1024"), ("novelty", "1")
        )
    assert reply.json == pictures(2)
    assert reply.headers["x-request-cost"] == "0.080000000"
    assert world.upstream.calls == [
        {
            "model": "upstream-model",
            "prompt": "Winter",
            "image": PNG,
            "mask": MASK,
            "n": "3",
            "size": "1024x1024",
        }
    ]
    assert world.upstream.heads[0].startswith("POST /v1/images/edits ")
    settled = world.gate.only
    assert (settled.endpoint, settled.outcome, settled.source) == (
        "images_edits",
        "completed",
        "upstream",
    )
    assert (settled.images, settled.units_nanos) == (2, 2 * IMAGE_NANOS)
    assert world.gate.admissions[0].amount_nanos == 3 * IMAGE_NANOS


@in_loop
async def test_several_images_pass_as_a_list() -> None:
    async with World(answer(pictures()), **MODEL) as world:
        listed = await edit(world, ("image[]", PNG), ("image[]", MASK), image=None)
        repeated = await edit(world, ("image", MASK))
        assert [call["image[]"] for call in world.upstream.calls] == [[PNG, MASK], [PNG, MASK]]
    assert (listed.status, repeated.status) == (200, 200)


@pytest.mark.parametrize("made", [pictures(0), {"data": [{"url": ""}]}, {}, b"nonsense"])
@in_loop
async def test_an_answer_without_images_is_none_and_free(made: Any) -> None:
    async with World(answer(made), **MODEL) as world:
        reply = await edit(world)
    assert (reply.status, reply.json["error"]["code"]) == (502, "upstream_error")
    assert (world.gate.only.source, world.gate.only.units_nanos) == ("none", 0)


@in_loop
async def test_more_images_than_were_asked_for_are_neither_charged_nor_given() -> None:
    async with World(answer(pictures(3)), **MODEL) as world:
        reply = await edit(world)
    assert reply.json == pictures(1)
    assert world.gate.only.units_nanos == IMAGE_NANOS


@pytest.mark.parametrize(
    ("fields", "image", "code", "param"),
    [
        ([], None, "missing_required_parameter", "image"),
        ([], "house", "invalid_type", "image"),
        ([], ("a.png", "image/png", b""), "invalid_value", "image"),
        ([("image[]", "house"), ("image[]", PNG)], None, "invalid_type", "image[0]"),
        ([("image[]", PNG)] * 17, None, "invalid_value", "image"),
        ([("mask", "here")], PNG, "invalid_type", "mask"),
        ([("n", "0")], PNG, "invalid_value", "n"),
        ([("n", "two")], PNG, "invalid_type", "n"),
        ([("size", "9x9")], PNG, "invalid_value", "size"),
        ([("response_format", "png")], PNG, "invalid_value", "response_format"),
        ([("stream", "true")], PNG, "unsupported_parameter", "stream"),
        ([("quality", "high")], PNG, "unsupported_parameter", "quality.high"),
    ],
)
@in_loop
async def test_what_is_wrong_is_named(
    fields: list[Field], image: Any, code: str, param: str
) -> None:
    refused = {"refused_parameters": ("quality.high",)}
    async with World(answer(pictures()), **{**MODEL, **refused}) as world:
        reply = await edit(world, *fields, image=image)
    assert reply.status == 400
    assert (reply.json["error"]["code"], reply.json["error"]["param"]) == (code, param)
    assert world.gate.settlements == []
    assert world.upstream.calls == []


@in_loop
async def test_a_model_that_takes_no_images_edits_none() -> None:
    async with World(answer(pictures()), **{**MODEL, "input_modalities": ("text",)}) as world:
        reply = await edit(world)
    assert (reply.status, reply.json["error"]["code"], reply.json["error"]["param"]) == (
        400,
        "unsupported_parameter",
        "image",
    )


@in_loop
async def test_a_client_that_disconnects_pays_nothing_and_stops_the_upstream() -> None:
    async with World(raw(5.0), **MODEL) as world:
        content = form(("model", "public-model"), ("prompt", "Winter"), ("image", PNG))
        sending = world.send(content, Reply(), "/v1/images/edits", headers=FORM)
        task = asyncio.get_running_loop().create_task(sending)
        await eventually_async(lambda: world.upstream.calls)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.wait_for(world.upstream.closed.wait(), 10)
    settled = world.gate.only
    assert (settled.outcome, settled.source, settled.units_nanos) == ("client_closed", "none", 0)
