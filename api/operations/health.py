"""`GET …/health`: the state of the service and its models. No key required."""

from contextlib import suppress
from typing import Annotated, Literal

import msgspec
import psycopg
from msgspec import Meta, Struct

from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.operations.base import COMMON_HEADERS, Operation

VERSION = "1.0"

_encode = msgspec.json.Encoder().encode


async def show_health(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the models' states."""
    await gateway.health.refresh()
    # A process that serves nothing but health sees no admission that tells of a new catalogue.
    if gateway.health.catalogue_version > gateway.catalogue.current.version:
        with suppress(psycopg.Error):
            await gateway.catalogue.refresh_to(gateway.health.catalogue_version)
    models = gateway.health.states(gateway.catalogue.current)
    await request.respond(_encode({"status": "ok", "version": VERSION, "models": models}))


class Health(Struct):
    """The state of the service and its models."""

    status: Literal["ok"]
    version: str
    models: Annotated[
        dict[str, Literal["operational", "degraded", "offline"]],
        Meta(description="Measured on each model's requests over the last few minutes."),
    ]


HEALTH = Operation(
    name="health",
    handle=show_health,
    methods=("GET", "HEAD"),
    path="/health",
    operation_id="get_health",
    tag="Health",
    summary="Get the models' health",
    description="No key required.",
    answer=Health,
    answer_example={"status": "ok", "version": VERSION, "models": {"glm-5.2": "operational"}},
    errors=(500,),
    headers=COMMON_HEADERS,
    is_public=True,
)
