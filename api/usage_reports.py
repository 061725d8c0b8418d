"""Upstreams' usage read through their APIs, and its sums beside ours by day and model.

These APIs have no requests, so nothing is matched or corrected: an export does that
(`billing/reconciliation/`). A reader for each kind yields the figures of the last complete days.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec
import structlog
from django.db import transaction
from django.utils import timezone

from accounts import encryption
from accounts.encryption import DecryptionError
from api.dialects.error_bodies import redacted
from api.models import ReportedUsage, Route, UsageSource
from api.upstream_hosts import guarded_transport, problem_with
from api.upstream_keys import end_of
from billing.models import MarginDay
from billing.usage.overview import SUMS, figures_of

log = structlog.get_logger(__name__)

DAYS = 30
MOST_PAGES = 40
MOST_BYTES = 8 * 1024 * 1024
TIMEOUT = httpx.Timeout(20.0, connect=5.0)
_MOST_TOKENS = 10**15
_NANOS = 10**9
_MOST_DOLLARS = 10**9
_MOST_SUM = 10**18  # of tokens, or nano-dollars

Figures = dict[tuple[date, str], "Reported"]
Query = dict[str, str | int]
Answer = TypeVar("Answer")
Read = Callable[[Callable[[str, Query, type[Any]], Any], date, date], Figures]


class UsageReportError(Exception):
    """Usage that can't be read; the message is for staff."""


@dataclass
class Reported:
    """The upstream's sums for a day and a model; `cost_nanos` in nano-dollars."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0


class Compared(NamedTuple):
    """Their sums beside ours, for a day and a model by the upstream's name."""

    day: date
    model: str
    theirs: Reported
    ours: Reported


def store_key(source: UsageSource, key: str, now: datetime) -> None:
    """Set the columns of a source to a key that was typed for its address. It is not saved."""
    source.encrypted_key = encrypt_key(source, key)
    source.key_end, source.key_set_at = end_of(key), now


def encrypt_key(source: UsageSource, key: str) -> str:
    """Return a key as it is stored in the row of this source."""
    return encryption.encrypt(key, _purpose(source))


def read_key(source: UsageSource) -> str:
    """Return a source's key. Raise DecryptionError for one that was typed for another address."""
    return encryption.decrypt(source.encrypted_key, _purpose(source))


def read_due() -> int:
    """Read all enabled sources. Return how many could be read."""
    return sum(map(read_source, UsageSource.objects.filter(is_enabled=True).order_by("pk")))


def read_source(source: UsageSource, transport: httpx.BaseTransport | None = None) -> bool:
    """Replace a source's figures of the last complete days. Return False if they can't be read.

    The reason is kept in the row, and the figures stay as they were.
    """
    today = timezone.now().astimezone(UTC).date()
    first = today - timedelta(days=DAYS)
    try:
        figures = _fetch(source, first, today, transport)
    except UsageReportError as error:
        source.error = str(error)[:300]
        log.warning("usage_not_read", upstream=source.upstream.name, error=source.error)
        source.save(update_fields=["error"])
        return False
    with transaction.atomic():
        UsageSource.objects.select_for_update().get(pk=source.pk)
        source.reported.filter(day__gte=first).delete()
        ReportedUsage.objects.bulk_create(
            ReportedUsage(source=source, day=day, model=model, **vars(sums))
            for (day, model), sums in figures.items()
            if first <= day < today
        )
        source.error, source.read_at = "", timezone.now()
        source.save(update_fields=["error", "read_at"])
    return True


def compare(source: UsageSource) -> list[Compared]:
    """Return both sides of the last complete days, the newest day first.

    Only days that the source was read for are compared. Our requests count at the upstream that was
    tried last, under the name that the model's route has there.
    """
    if source.read_at is None:
        return []
    until = source.read_at.astimezone(UTC).date()
    since = until - timedelta(days=DAYS)
    names = _names_at(source)
    sums: dict[tuple[date, str], tuple[Reported, Reported]] = defaultdict(
        lambda: (Reported(), Reported())
    )
    for row in source.reported.filter(day__gte=since, day__lt=until):
        theirs, _ = sums[row.day, _known(row.model, names.values())]
        _add(theirs, (row.requests, row.input_tokens, row.output_tokens), row.cost_nanos)
    ours = MarginDay.objects.filter(
        upstream=source.upstream.name, day__gte=since, day__lt=until
    ).values("day", "model")
    for line in ours.annotate(**SUMS).order_by():
        _, mine = sums[line["day"], names.get(line["model"], line["model"])]
        figures = figures_of(line)
        counts = (figures.requests, figures.input_tokens, figures.output_tokens)
        _add(mine, counts, figures.upstream_cost_nanos)
    ordered = sorted(sums, key=lambda key: (-key[0].toordinal(), key[1]))
    return [Compared(*key, *sums[key]) for key in ordered]


def _names_at(source: UsageSource) -> dict[str, str]:
    """Return the upstream's name of each of our models; the first route's where there are more."""
    routes = Route.objects.filter(upstream=source.upstream).order_by("-priority", "-pk")
    return dict(routes.values_list("model__name", "upstream_model"))


def _known(model: str, names: Iterable[str]) -> str:
    """Return the name that we ask by, for one that is reported with its date: `name-2026-01-31`."""
    if model in names:
        return model
    fitting = [
        name
        for name in names
        if model.startswith(f"{name}-") and model[len(name) + 1 :].replace("-", "").isdigit()
    ]
    return max(fitting, key=len, default=model)


def _add(sums: Reported, counts: tuple[int, int, int], cost_nanos: int) -> None:
    """Add requests, input tokens and output tokens, and a cost. Raise UsageReportError."""
    for count in counts:
        if not 0 <= count <= _MOST_TOKENS:
            raise UsageReportError(f"{count} is not a count.")
    sums.requests += counts[0]
    sums.input_tokens += counts[1]
    sums.output_tokens += counts[2]
    sums.cost_nanos += cost_nanos


def _fetch(
    source: UsageSource, first: date, until: date, transport: httpx.BaseTransport | None
) -> Figures:
    """Return the source's figures from `first` to before `until`. Raise UsageReportError."""
    if problem := problem_with(source.base_url):
        raise UsageReportError(problem)
    try:
        key = read_key(source)
    except DecryptionError as error:
        raise UsageReportError(f"The key can't be decrypted: {error}") from None
    with httpx.Client(
        trust_env=False,
        follow_redirects=False,
        timeout=TIMEOUT,
        headers={"authorization": f"Bearer {key}", "user-agent": "tollgate"},
        transport=transport or guarded_transport(),
    ) as client:

        def get(path: str, query: Query, shape: type[Any]) -> Any:
            return _answer(client, f"{source.base_url}{path}", query, shape, key)

        figures = _READERS[source.kind](get, first, until)
    if any(abs(each) > _MOST_SUM for sums in figures.values() for each in vars(sums).values()):
        raise UsageReportError("A sum is too large.")
    return figures


def _answer(client: httpx.Client, url: str, query: Query, shape: type[Answer], key: str) -> Answer:
    """Return the decoded answer to a GET. Raise UsageReportError."""
    body = b""
    try:
        with client.stream("GET", url, params=query) as response:
            for part in response.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    raise UsageReportError("The answer is too long.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = redacted(f"{type(error).__name__}: {error}".replace(key, "…"))
        raise UsageReportError(text) from None
    if response.status_code != 200:
        raise UsageReportError(f"The upstream answered HTTP {response.status_code}.")
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UsageReportError(f"The answer is not what the API describes: {error}") from None


# OpenAI's API reference, "Usage": buckets of a day, by model; costs by line item, such as
# `gpt-4.1-2025-04-14, input`. Both come in pages.


class _UsageResult(msgspec.Struct):
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    num_model_requests: int = 0


class _Amount(msgspec.Struct):
    value: Decimal = Decimal(0)
    currency: str = "usd"


class _CostResult(msgspec.Struct):
    amount: _Amount = msgspec.field(default_factory=_Amount)
    line_item: str | None = None


class _UsageBucket(msgspec.Struct):
    start_time: int
    results: list[_UsageResult] = []


class _CostBucket(msgspec.Struct):
    start_time: int
    results: list[_CostResult] = []


class _UsagePage(msgspec.Struct):
    data: list[_UsageBucket]
    next_page: str | None = None


class _CostPage(msgspec.Struct):
    data: list[_CostBucket]
    next_page: str | None = None


def _read_openai(get: Callable[[str, Query, type[Any]], Any], first: date, until: date) -> Figures:
    figures: Figures = defaultdict(Reported)
    period: Query = {"start_time": _seconds(first), "end_time": _seconds(until)}
    period |= {"bucket_width": "1d", "limit": 31}

    def buckets(path: str, group: str, shape: type[Any]) -> Iterator[tuple[date, Any]]:
        query: Query = {**period, "group_by": group}
        for _ in range(MOST_PAGES):
            page = get(path, query, shape)
            for bucket in page.data:
                yield _day_at(bucket.start_time), bucket.results
            if not page.next_page:
                return
            query["page"] = page.next_page
        raise UsageReportError("The answer has too many pages.")

    for day, usages in buckets("/organization/usage/completions", "model", _UsagePage):
        for each in usages:
            counts = (each.num_model_requests, each.input_tokens, each.output_tokens)
            _add(figures[day, _name(each.model)], counts, 0)
    for day, costs in buckets("/organization/costs", "line_item", _CostPage):
        for cost in costs:
            if cost.amount.currency.lower() != "usd":
                raise UsageReportError(f"Costs are in {cost.amount.currency[:8]}, not in dollars.")
            model = _name((cost.line_item or "").partition(",")[0].strip())
            _add(figures[day, model], (0, 0, 0), _nanos(cost.amount.value))
    return figures


# OpenRouter's API reference, "Get user activity": the last 30 complete days, by model and endpoint.


class _Activity(msgspec.Struct):
    date: str
    model: str = ""
    usage: Decimal = Decimal(0)
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Activities(msgspec.Struct):
    data: list[_Activity]


def _read_openrouter(
    get: Callable[[str, Query, type[Any]], Any], _first: date, _until: date
) -> Figures:
    figures: Figures = defaultdict(Reported)
    for each in get("/activity", {}, _Activities).data:
        try:
            day = date.fromisoformat(each.date[:10])
        except ValueError:
            raise UsageReportError(f"“{each.date[:40]}” is not a day.") from None
        counts = (each.requests, each.prompt_tokens, each.completion_tokens)
        _add(figures[day, _name(each.model)], counts, _nanos(each.usage))
    return figures


_READERS: dict[str, Read] = {
    UsageSource.Kind.OPENAI: _read_openai,
    UsageSource.Kind.OPENROUTER: _read_openrouter,
}


def _seconds(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp())


def _day_at(seconds: int) -> date:
    try:
        return datetime.fromtimestamp(seconds, UTC).date()
    except (ValueError, OverflowError, OSError):
        raise UsageReportError(f"{seconds} is not a time.") from None


def _name(model: str | None) -> str:
    return (model or "").replace("\0", "")[:200]


def _nanos(dollars: Decimal) -> int:
    # Compared before it is multiplied: 1e999999 is finite, but overflows.
    if not (dollars.is_finite() and -_MOST_DOLLARS <= dollars <= _MOST_DOLLARS):
        raise UsageReportError("A cost is too large.")
    return int((dollars * _NANOS).to_integral_value())


def _purpose(source: UsageSource) -> str:
    return f"usage key for {source.kind} {source.base_url}"
