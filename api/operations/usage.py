"""`GET …/usage`: usage by hour or day and by model, session, user or endpoint.

Inference keys see their own usage. The management API (`api.manage`) shows a team's, with the same
parameters and two more.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from accounts.models import ApiKey
from accounts.zones import zone_of
from api import errors
from api.gateway.http import ApiRequest
from api.gateway.look_ups import known_key, look_up
from api.gateway.process import Gateway
from api.operations.base import KEY_ERRORS, DocsPage, Operation, query_of
from billing.pricing.money import dollars_text
from billing.usage.records import UsageSum
from billing.usage.report import (
    MOST_DIMENSIONS,
    Dimension,
    Interval,
    Report,
    ReportError,
    ReportQuery,
    report_of,
)

DEFAULT_DAYS = 7
_GROUPS = ", ".join(f"`{each.value}`" for each in Dimension)


class UsageQuery(Struct, kw_only=True):
    """The query of a usage report."""

    start: Annotated[
        date | None, Meta(description="The first day. Default: six days before `end`.")
    ] = None
    end: Annotated[date | None, Meta(description="The last day. Default: today.")] = None
    zone: Annotated[
        str,
        Meta(
            description="The time zone of days and hours, such as `Europe/Prague`.",
            max_length=64,
        ),
    ] = "UTC"
    interval: Annotated[
        Literal["hour", "day", "none"], Meta(description="`none`: one row for each group.")
    ] = "day"
    group_by: Annotated[
        str,
        Meta(
            description=f"Up to {MOST_DIMENSIONS} of {_GROUPS}, separated by commas.",
            max_length=100,
        ),
    ] = ""
    model: Annotated[str, Meta(description="Only this model.", max_length=120)] = ""
    status: (
        Annotated[
            Literal["ok", "cancelled", "error"], Meta(description="Only requests that ended so.")
        ]
        | UnsetType
    ) = UNSET
    user: Annotated[str, Meta(description="Only this end user.", max_length=200)] = ""
    session: Annotated[str, Meta(description="Only this session.", max_length=128)] = ""
    endpoint: Annotated[
        str, Meta(description="Only this endpoint, such as `chat_completions`.", max_length=40)
    ] = ""
    limit: Annotated[int, Meta(description="Rows in a page.", ge=1, le=1000)] = 100
    page: Annotated[
        int, Meta(description="The `next_page` of the previous page.", ge=0, le=1_000_000)
    ] = 0


class TeamUsageQuery(UsageQuery, kw_only=True):
    """The query of a team's usage report."""

    key: Annotated[
        Annotated[int, Meta(ge=0, le=2**63 - 1)] | None,
        Meta(description="Only the key with this id."),
    ] = None
    member: Annotated[
        str, Meta(description="Only keys created by this member: an email address.", max_length=254)
    ] = ""


async def show_usage(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with a report of the key's own usage. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    query = query_of(request, UsageQuery)
    report = report_query(query, admission.account_id, (admission.key_id,))
    body = await look_up(admission.team_id, lambda: usage_page(query, report))
    await request.respond(msgspec.json.encode(body))


def report_query(
    query: UsageQuery, account_id: int, key_ids: tuple[int, ...] | None
) -> ReportQuery:
    """Return the report that is asked for. Raise an InvalidRequestError.

    `key_ids` are the keys whose usage it may show; None for all keys of the account.
    """
    zone = zone_of(query.zone)
    if zone is None:
        raise errors.InvalidValueError(
            f"Invalid 'zone': '{errors.quoted(query.zone)}' is not a time zone, such as "
            "Europe/Prague.",
            param="zone",
        )
    names = [name.strip() for name in query.group_by.split(",") if name.strip()]
    if unknown := [name for name in names if name not in Dimension.values]:
        raise errors.InvalidValueError(
            f"Invalid 'group_by': '{errors.quoted(unknown[0])}' is none of "
            f"{', '.join(Dimension.values)}.",
            param="group_by",
        )
    if len(names) > MOST_DIMENSIONS or len(set(names)) < len(names):
        raise errors.InvalidValueError(
            f"Invalid 'group_by': expected at most {MOST_DIMENSIONS} different names.",
            param="group_by",
        )
    for name in ("model", "user", "session", "endpoint"):
        if "\0" in getattr(query, name):
            raise errors.InvalidValueError(f"Invalid '{name}': null characters.", param=name)
    last = query.end or datetime.now(zone).date()
    try:
        first = query.start or last - timedelta(days=DEFAULT_DAYS - 1)
        report = ReportQuery(
            account_id=account_id,
            first=first,
            last=last,
            zone=zone,
            interval=None if query.interval == "none" else Interval(query.interval),
            dimensions=tuple(Dimension(name) for name in names),
            key_ids=key_ids,
            model=query.model,
            status=query.status or "",
            end_user=query.user,
            session_id=query.session,
            endpoint=query.endpoint,
        )
        report.check()
    except ReportError as error:
        raise errors.InvalidValueError(str(error), param=error.param) from None
    except OverflowError:
        raise errors.InvalidValueError("Invalid period.", param="end") from None
    return report


def usage_page(query: UsageQuery, asked: ReportQuery) -> dict[str, Any]:
    """Return a page of a report as JSON's object. Raise InvalidValueError if it is too large."""
    try:
        report = report_of(asked, offset=query.page, limit=query.limit)
    except ReportError as error:
        raise errors.InvalidValueError(str(error), param=error.param) from None
    names = _key_names(report)
    return {
        "object": "list",
        "start": asked.first,
        "end": asked.last,
        "zone": asked.zone.key,
        "interval": query.interval,
        "group_by": [dimension.value for dimension in asked.dimensions],
        "data": [
            {
                "object": "usage",
                **({"start": row.starts_at.isoformat()} if row.starts_at is not None else {}),
                **row.group,
                **({"key_name": names.get(row.group["key"], "")} if "key" in row.group else {}),
                **_figures(row.used),
            }
            for row in report.rows
        ],
        "total": _figures(report.total),
        "has_more": report.has_more,
        "next_page": query.page + query.limit if report.has_more else None,
    }


def _key_names(report: Report) -> Mapping[int, str]:
    """Return the names of the page's keys by id."""
    ids = {row.group["key"] for row in report.rows if "key" in row.group}
    return dict(ApiKey.objects.filter(pk__in=ids).values_list("pk", "name")) if ids else {}


def _figures(used: UsageSum) -> dict[str, Any]:
    return {
        "requests": used.requests,
        "errors": used.errors,
        "input_tokens": used.input_tokens,
        "cached_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "images": used.images,
        "cost": dollars_text(used.charged_nanos),
        "cost_nanos": used.charged_nanos,
    }


class UsageFigures(Struct, kw_only=True):
    """Sums of requests. Cached tokens are part of the input, reasoning is part of the output."""

    requests: int
    errors: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    images: int
    cost: Annotated[str, Meta(description="Charged, in dollars as an exact decimal.")]
    cost_nanos: Annotated[int, Meta(description="The same in billionths of a dollar.")]


class UsageRow(UsageFigures, kw_only=True):
    """The sums of one period and group."""

    object: Literal["usage"]
    start: Annotated[str, Meta(description="The period's beginning.")] | UnsetType = UNSET
    model: str | UnsetType = UNSET
    key: Annotated[int, Meta(description="The key's id.")] | UnsetType = UNSET
    key_name: str | UnsetType = UNSET
    member: (
        Annotated[str | None, Meta(description="The email address of the key's creator.")]
        | UnsetType
    ) = UNSET
    session: str | UnsetType = UNSET
    user: str | UnsetType = UNSET
    endpoint: str | UnsetType = UNSET


class UsageReport(Struct, kw_only=True):
    """A page of a usage report."""

    object: Literal["list"]
    start: date
    end: date
    zone: str
    interval: Literal["hour", "day", "none"]
    group_by: list[str]
    data: list[UsageRow]
    total: Annotated[UsageFigures, Meta(description="Of the whole report.")]
    has_more: bool
    next_page: int | None


_FIGURES = {
    "requests": 41,
    "errors": 1,
    "input_tokens": 1_204_551,
    "cached_tokens": 960_128,
    "output_tokens": 20_113,
    "reasoning_tokens": 4_096,
    "images": 0,
    "cost": "0.412500000",
    "cost_nanos": 412_500_000,
}

USAGE = Operation(
    name="usage",
    handle=show_usage,
    methods=("GET", "HEAD"),
    path="/usage",
    at_root=False,
    query=UsageQuery,
    operation_id="get_usage",
    tag="Account",
    summary="Get the key's usage",
    description=(
        "Sums up the requests of the key that the request is made with, by hour or day and by "
        "what `group_by` names. Up to 366 days, or 31 days by hour, by session, user or endpoint, "
        "with a filter other than `model`, and in time zones whose hours don't begin with UTC's. "
        "A team's usage is in the management API. Free, and outside all limits."
    ),
    answer=UsageReport,
    answer_example={
        "object": "list",
        "start": "2026-11-24",
        "end": "2026-11-30",
        "zone": "Europe/Prague",
        "interval": "day",
        "group_by": ["model"],
        "data": [
            {
                "object": "usage",
                "start": "2026-11-30T00:00:00+01:00",
                "model": "glm-5.2",
                **_FIGURES,
            }
        ],
        "total": _FIGURES,
        "has_more": False,
        "next_page": None,
    },
    errors=(400, *KEY_ERRORS),
    page=DocsPage(
        slug="usage",
        title="Usage",
        summary="What a key or a team used, by time, model, session and more.",
        charge="Nothing.",
    ),
)
