"""The plans of pictures and videos: what they can cost, and what is sent upstream."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from api import errors
from api.gateway.quote import Quote
from api.operations.images import ImagesDialect, quote_images
from api.operations.videos import DIALECT, quote_video
from api.surfaces import SURFACES
from billing.pricing.charge import Usage
from billing.pricing.rates import Prices
from tests.api.gateway.world import World

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


def video(model: dict[str, Any] | None = None, **fields: Any) -> Quote:
    body = DIALECT.parse({"model": "public-model", "prompt": "A bird"} | fields, 0)
    return quote_video(1800, DIALECT, snapshot("video", **(model or {})), V1, body)


def sent(quote: Quote) -> Any:
    return msgspec.json.decode(
        quote.dialect.upstream_body(quote.request, quote.model, quote.model.routes[0], 0)
    )


def test_a_video_costs_its_price_and_its_hold_outlives_the_job() -> None:
    quote = video({"prices": (prices(piece_nanos=200, request_nanos=3),)})

    assert (quote.amount_nanos, quote.minimum_nanos, quote.limited_tokens) == (203, 203, 0)
    assert quote.units == Usage(pieces=1)
    assert (quote.total_seconds, quote.job_seconds) == (10.0, 1800)
    assert sent(quote) == {"model": "upstream-model", "prompt": "A bird"}


@pytest.mark.parametrize(("duration", "seconds"), [(8, 8), (7.2, 8), (0.5, 1), (None, 5)])
def test_a_video_by_the_second_always_names_how_long_it_is(
    duration: float | None, seconds: int
) -> None:
    quote = video({"prices": (prices(second_nanos=10),)}, duration=duration)

    assert quote.amount_nanos == 10 * seconds
    assert quote.units == Usage(pieces=1, seconds=seconds)
    assert sent(quote)["duration"] == (duration or 5)


def test_where_seconds_cost_nothing_no_duration_is_made_up() -> None:
    assert "duration" not in sent(video({"prices": (prices(piece_nanos=1),)}))


def test_pictures_cost_their_number() -> None:
    body = ImagesDialect().parse({"model": "public-model", "prompt": "A", "n": 10}, 0)
    model = snapshot("image", prices=(prices(image_nanos=15_000_000),))

    quote = quote_images("images_generations", ImagesDialect(), model, V1, body)

    assert (quote.amount_nanos, quote.units, quote.job_seconds) == (
        150_000_000,
        Usage(images=10),
        0,
    )


def test_a_model_without_a_price_is_not_sold() -> None:
    with pytest.raises(errors.ModelUnpricedError):
        video({"prices": ()})


def test_the_coding_surface_makes_none() -> None:
    body = DIALECT.parse({"model": "public-model", "prompt": "A bird"}, 0)
    with pytest.raises(errors.EndpointNotAllowedError):
        quote_video(1800, DIALECT, snapshot("video", is_coding=False), CODING, body)


@pytest.mark.parametrize("n", [2, "1", [1], {}, 1.5])
def test_one_order_is_one_video(n: object) -> None:
    with pytest.raises(errors.UnsupportedParameterError):
        video(n=n)
