"""The dashboard of a team: balance, spending, requests, and the first steps."""

from dataclasses import dataclass
from datetime import timedelta
from statistics import median

from django.db.models import QuerySet

from accounts.access import Actor
from accounts.api_keys import active
from api.catalogue.snapshot import load_snapshot
from billing.models import CreditAccount, UsageRecord
from billing.usage.lots import lots_left
from billing.usage.records import Selection, UsageSum, sums, total
from portal.access import without_chat_keys
from portal.ui.charts import Chart, chart_of
from portal.ui.outcomes import Outcome, outcome_of
from portal.ui.periods import Period, last_days, midnight, month_of, today
from portal.ui.snippets import Snippet, chat_snippets

DAYS = 30
RECENT_ROWS = 8
SAMPLE_ROWS = 1000


@dataclass(frozen=True)
class Sample:
    """The newest requests' medians, in milliseconds, and how many requests those are."""

    size: int
    latency_ms: float | None
    first_token_ms: float | None


@dataclass(frozen=True)
class Overview:
    """Everything on the dashboard. `account` is None for a team that has none yet."""

    account: CreditAccount | None
    today: UsageSum
    month: UsageSum
    days: UsageSum
    chart: Chart | None
    sample: Sample
    recent: list[tuple[UsageRecord, Outcome, str]]
    version: str


@dataclass(frozen=True)
class FirstSteps:
    """The next steps of a team that has made no request yet."""

    has_key: bool
    may_create_keys: bool
    snippets: list[Snippet]


def version_of(account: CreditAccount | None) -> str:
    """Return a text that changes with whatever the dashboard shows, in one query."""
    if account is None:
        return ""
    newest = _newest(account).values_list("request_id", flat=True).first()
    state = (account.posted_nanos, account.held_nanos, newest, today())
    return "-".join("" if part is None else str(part) for part in state)


def overview_of(actor: Actor, account: CreditAccount | None) -> Overview:
    """Return the dashboard of the actor's team."""
    account_id = account.pk if account is not None else 0
    days = last_days(DAYS)
    month = Period(month_of(today()).first, today())
    since = min(days.since, month.since)
    parts = sums(Selection(account_id, since, days.until))
    midnight_today = midnight(today())
    shown = {place: part for place, part in parts.items() if place[0] >= days.since}
    rows = list(_newest(account)[:RECENT_ROWS]) if account is not None else []
    names = dict(
        actor.visible_keys().filter(pk__in={row.key_id for row in rows}).values_list("pk", "name")
    )
    return Overview(
        account=account,
        today=total(part for (day, _), part in parts.items() if day >= midnight_today),
        month=total(part for (day, _), part in parts.items() if day >= month.since),
        days=total(shown.values()),
        chart=chart_of(shown, days.since, days.until),
        sample=_sample(account),
        recent=[(row, outcome_of(row), names.get(row.key_id, "")) for row in rows],
        version=version_of(account),
    )


def first_steps(actor: Actor, base_url: str) -> FirstSteps:
    """Return the first steps, with a call that works once the key is in its place."""
    snapshot = load_snapshot()
    chat_models = snapshot.public_models(kind="chat")
    model = chat_models[0].name if chat_models else "model"
    keys = without_chat_keys(active(actor.visible_keys().filter(scope="inference")))
    return FirstSteps(
        has_key=keys.exists(),
        may_create_keys=actor.may_create_keys(),
        snippets=chat_snippets(
            base_url=base_url, model=model, api_key=f"{snapshot.service.key_prefix}…"
        ),
    )


def is_all_granted(account: CreditAccount) -> bool:
    """Return whether nothing of the balance was bought."""
    return not any(lot.is_paid for lot in lots_left(account))


def _newest(account: CreditAccount) -> QuerySet[UsageRecord]:
    records = UsageRecord.objects.filter(account=account).defer("attempts", "error")
    return records.order_by("-created_at", "-request_id")


def _sample(account: CreditAccount | None) -> Sample:
    if account is None:
        return Sample(0, None, None)
    since = midnight(today()) - timedelta(days=DAYS)
    figures = list(
        _newest(account)
        .filter(created_at__gte=since, outcome="completed")
        .values_list("latency_ms", "first_token_ms")[:SAMPLE_ROWS]
    )
    firsts = [first for _, first in figures if first is not None]
    return Sample(
        size=len(figures),
        latency_ms=median(latency for latency, _ in figures) if figures else None,
        first_token_ms=median(firsts) if firsts else None,
    )
