"""Sessions: the requests that a client gives one session id, such as a coding agent's run.

They are summed up from the records; an index has those with a session.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Max, Min, Q, QuerySet, Sum, TextField
from django.db.models.functions import Cast

from billing.models import UsageRecord
from billing.usage.records import OF_STATUS, Status


@dataclass(frozen=True)
class Session:
    """The sums of one session's requests. `last_request` is the newest one's id.

    `first_at` and `last_at` are when its first and last request ended. `longest_input` and
    `longest_output` are the most tokens of a request, `media` how many images, videos and seconds.
    """

    session_id: str
    last_request: UUID
    first_at: datetime
    last_at: datetime
    requests: int
    errors: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    reasoning_tokens: int
    charged_nanos: int
    longest_input: int
    longest_output: int
    media: int
    models: list[str]
    key_ids: list[int]

    @property
    def cached_share(self) -> float | None:
        """The percentage of the input that was read from caches, or None without input."""
        return 100 * self.cached_tokens / self.input_tokens if self.input_tokens else None


def sessions_of(
    account_id: int,
    since: datetime,
    until: datetime,
    *,
    before: datetime | None = None,
    limit: int = 50,
) -> list[Session]:
    """Return the account's sessions with requests in a period, the latest first.

    The sums are of that period. With `before`, only sessions that ended before that moment.
    """
    found = UsageRecord.objects.filter(
        account_id=account_id, created_at__gte=since, created_at__lt=until
    )
    rows = _summed(found)
    if before is not None:
        rows = rows.filter(last_at__lt=before)
    return [_session(row) for row in rows.order_by("-last_at", "session_id")[:limit]]


def session_of(account_id: int, request_id: UUID) -> Session | None:
    """Return the session that a request of the account belongs to, all of it; None without one."""
    records = UsageRecord.objects.filter(account_id=account_id)
    session_id = records.filter(pk=request_id).values_list("session_id", flat=True).first()
    if not session_id:
        return None
    (row,) = _summed(records.filter(session_id=session_id))
    return _session(row)


def _summed(found: QuerySet[Any]) -> QuerySet[Any, dict[str, Any]]:
    summed: QuerySet[Any, dict[str, Any]] = (
        found.filter(~Q(session_id=""))
        .order_by()
        .values("session_id")
        .annotate(
            # Ids are in the order of time (UUIDv7).
            last_request=Max(Cast("request_id", TextField())),
            first_at=Min("created_at"),
            last_at=Max("created_at"),
            requests=Count("*"),
            errors=Count("outcome", filter=OF_STATUS[Status.ERROR]),
            longest_input=Max("input_tokens"),
            longest_output=Max("output_tokens"),
            media=Sum("images") + Sum("pieces") + Sum("seconds"),
            models=ArrayAgg("model", distinct=True),
            key_ids=ArrayAgg("key_id", distinct=True),
            **{f"sum_{name}": Sum(name) for name in _SUMS},
        )
    )
    return summed


_SUMS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "charged_nanos")


def _session(row: dict[str, Any]) -> Session:
    fields = {name.removeprefix("sum_"): value for name, value in row.items()}
    fields["last_request"] = UUID(fields["last_request"])
    for name in _SUMS:
        fields[name] = int(fields[name])
    return Session(**fields)
