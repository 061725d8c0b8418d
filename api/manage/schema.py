"""The OpenAPI description of the management API's operations."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.serializers import Serializer

from api.openapi.parts import REF, query_parameters
from api.operations.usage import TeamUsageQuery, UsageReport

_TEAM = OpenApiParameter(
    "team",
    str,
    description="The team's slug, for members of several. Without it: your personal team.",
)


def operation(
    name: str,
    *,
    answer: type[Serializer[Any]] | Serializer[Any],
    body: type[Serializer[Any]] | None = None,
    query: type[Serializer[Any]] | None = None,
    status: int = 200,
) -> Callable[[Any], Any]:
    """Return a decorator that describes a view's method: its name, body, query and answer."""
    return extend_schema(
        operation_id=f"manage_{name}",
        tags=["Management"],
        request=body,
        parameters=[_TEAM, query] if query else [_TEAM],
        responses={status: answer},
    )


def _usage_parameters() -> list[OpenApiParameter]:
    """Return the parameters of a team's usage report, as its struct describes them."""
    return [
        OpenApiParameter(each["name"], each["schema"], description=each["description"])
        for each in query_parameters(TeamUsageQuery)
    ]


# The report is described once, where the keys' own endpoint is.
reports_usage = extend_schema(
    operation_id="manage_get_usage",
    tags=["Management"],
    parameters=[_TEAM, *_usage_parameters()],
    responses={200: {"$ref": REF.format("schemas", UsageReport.__name__)}},
)
