"""The OpenAPI description of the management API's operations."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from msgspec import Struct
from rest_framework.serializers import Serializer

from api.openapi.parts import REF, query_parameters
from api.operations.receipts import DayRootList, Receipt, ReceiptQuery, RootsQuery
from api.operations.usage import TeamUsageQuery, UsageReport
from billing.receipts.keys import MEDIA_TYPE

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


def _parameters(query: type[Struct]) -> list[OpenApiParameter]:
    """Return the parameters that a struct of an operation's query describes."""
    return [
        OpenApiParameter(each["name"], each["schema"], description=each["description"])
        for each in query_parameters(query)
    ]


def _as_described(name: str, answer: type[Struct], query: type[Struct]) -> Callable[[Any], Any]:
    """Return a decorator for a view whose answer is an operation's, and described there."""
    return extend_schema(
        operation_id=f"manage_{name}",
        tags=["Management"],
        parameters=[_TEAM, *_parameters(query)],
        responses={200: {"$ref": REF.format("schemas", answer.__name__)}},
    )


reports_usage = _as_described("get_usage", UsageReport, TeamUsageQuery)
lists_day_roots = _as_described("list_day_roots", DayRootList, RootsQuery)
gives_receipt = extend_schema(
    operation_id="manage_get_receipt",
    tags=["Management"],
    parameters=[_TEAM, *_parameters(ReceiptQuery)],
    responses={
        (200, MEDIA_TYPE): str,
        (200, "application/json"): {"$ref": REF.format("schemas", Receipt.__name__)},
    },
)
gives_day_root = extend_schema(
    operation_id="manage_get_day_root",
    tags=["Management"],
    parameters=[_TEAM],
    responses={(200, MEDIA_TYPE): str},
)
