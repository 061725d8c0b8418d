"""The plans of requests for pictures and videos, which are paid for by the piece."""

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry, Snapshot
from api.media_requests import ImageBody, ImageRequest, VideoBody, VideoRequest, check_size
from api.relay.capabilities import check_media_capabilities
from api.relay.estimate import Estimate
from api.relay.plan import Plan, find_sold
from api.surfaces import Surface
from billing.pricing.charge import Usage
from billing.pricing.rates import Prices, quote

# How long a video is that is paid for by the second, where the client names no duration.
DEFAULT_SECONDS = 5

_encode = msgspec.json.Encoder().encode


def plan_images(snapshot: Snapshot, surface: Surface, body: ImageBody) -> Plan:
    """Returns the plan of a request for pictures. Raises an error of `api.errors`."""
    request = body.request
    model, prices = find_sold(snapshot, request.model)
    check_media_capabilities(model, surface, request.model, "image", body.fields)
    check_size(request.size, model.image_sizes)
    return _plan(
        snapshot,
        request,
        body.fields,
        model,
        prices,
        units=Usage(images=request.n or 1),
        endpoint="images_generations",
        path="/images/generations",
    )


def plan_video(snapshot: Snapshot, surface: Surface, body: VideoBody, max_seconds: float) -> Plan:
    """Returns the plan of a request for a video, whose job may take `max_seconds`.

    Raises an error of `api.errors`. Where seconds are paid for, a duration is always sent upstream,
    so that the hold is an upper bound of the cost.
    """
    request, fields = body.request, body.fields
    model, prices = find_sold(snapshot, request.model)
    check_media_capabilities(model, surface, request.model, "video", fields)
    check_size(request.size, model.image_sizes)
    if request.has_pictures and "image" not in model.input_modalities:
        raise errors.UnsupportedParameterError(
            f"The model '{errors.quoted(request.model)}' makes no videos from pictures. "
            "Leave them out or use another model.",
            param="image_url" if request.image_url is not None else "image_urls",
        )
    seconds = request.named_seconds
    if seconds is None and prices.second_nanos:
        seconds = DEFAULT_SECONDS
        fields = {**fields, "duration": seconds}
    plan = _plan(
        snapshot,
        request,
        fields,
        model,
        prices,
        units=Usage(pieces=1, seconds=seconds or 0),
        endpoint="videos_generations",
        path="/videos/generations",
    )
    plan.job_seconds = max_seconds
    return plan


def media_body(plan: Plan, route: RouteEntry) -> bytes:
    """Returns the JSON that the route's upstream gets: the client's fields, and its model name."""
    return _encode({**plan.fields, "model": route.upstream_model})


def _plan(
    snapshot: Snapshot,
    request: ImageRequest | VideoRequest,
    fields: dict[str, object],
    model: ModelEntry,
    prices: Prices,
    *,
    units: Usage,
    endpoint: str,
    path: str,
) -> Plan:
    amount = quote(
        prices,
        images=units.images,
        seconds=units.seconds,
        pieces=units.pieces,
        units=units.units,
    )
    return Plan(
        endpoint=endpoint,
        path=path,
        units=units,
        model=model,
        prices=prices,
        prompt=Estimate(0, 0),
        public_name=request.model,
        fields=fields,
        choices=1,
        max_tokens=0,
        amount_nanos=amount,
        minimum_nanos=amount,
        limited_tokens=0,
        catalogue_version=snapshot.version,
        is_streamed=False,
        wants_usage=False,
        end_user=request.user or "",
    )
