"""The plans of pictures and videos: what they can cost, and what is sent upstream."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api import errors
from api.media_requests import parse_image_body, parse_video_body
from api.relay.media_plan import media_body, plan_images, plan_video
from api.relay.plan import Plan
from api.surfaces import SURFACES
from billing.pricing.charge import Usage
from billing.pricing.rates import Prices
from tests.api.relay.world import World

V1 = next(surface for surface in SURFACES if surface.name == "v1")
CODING = next(surface for surface in SURFACES if surface.models == "coding")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def prices(**nanos: int) -> Prices:
    return Prices(version_id=5, effective_from=LONG_AGO, **nanos)


def snapshot(kind: str, **model: Any) -> Any:
    world = World()
    world.upstream.port = 1
    fields = {"kind": kind, "input_modalities": ("text", "image")}
    return world.snapshot(**(fields | model))


def video(model: dict[str, Any] | None = None, **fields: Any) -> Plan:
    body = parse_video_body({"model": "public-model", "prompt": "A bird"} | fields, 0)
    return plan_video(snapshot("video", **(model or {})), V1, body, 1800)


def sent(plan: Plan) -> Any:
    return msgspec.json.decode(media_body(plan, plan.model.routes[0]))


def test_a_video_costs_its_price_and_its_hold_outlives_the_job() -> None:
    plan = video({"prices": (prices(piece_nanos=200, request_nanos=3),)})

    assert (plan.amount_nanos, plan.minimum_nanos, plan.limited_tokens) == (203, 203, 0)
    assert plan.units == Usage(pieces=1)
    assert (plan.total_seconds, plan.job_seconds) == (10.0, 1800)
    assert sent(plan) == {"model": "upstream-model", "prompt": "A bird"}


@pytest.mark.parametrize(("duration", "seconds"), [(8, 8), (7.2, 8), (0.5, 1), (None, 5)])
def test_a_video_by_the_second_always_names_how_long_it_is(
    duration: float | None, seconds: int
) -> None:
    plan = video({"prices": (prices(second_nanos=10),)}, duration=duration)

    assert plan.amount_nanos == 10 * seconds
    assert plan.units == Usage(pieces=1, seconds=seconds)
    assert sent(plan)["duration"] == (duration or 5)


def test_where_seconds_cost_nothing_no_duration_is_made_up() -> None:
    assert "duration" not in sent(video({"prices": (prices(piece_nanos=1),)}))


def test_pictures_cost_their_number() -> None:
    body = parse_image_body({"model": "public-model", "prompt": "A", "n": 10}, 0)
    model = snapshot("image", prices=(prices(image_nanos=15_000_000),))

    plan = plan_images(model, V1, body)

    assert (plan.amount_nanos, plan.units, plan.job_seconds) == (
        150_000_000,
        Usage(images=10),
        0,
    )


def test_a_model_without_a_price_is_not_sold() -> None:
    with pytest.raises(errors.ModelUnpricedError):
        video({"prices": ()})


def test_the_coding_surface_makes_none() -> None:
    body = parse_video_body({"model": "public-model", "prompt": "A bird"}, 0)
    with pytest.raises(errors.EndpointNotAllowedError):
        plan_video(snapshot("video", is_coding=False), CODING, body, 1800)


@pytest.mark.parametrize("n", [2, "1", [1], {}, 1.5])
def test_one_order_is_one_video(n: object) -> None:
    with pytest.raises(errors.UnsupportedParameterError):
        video(n=n)
