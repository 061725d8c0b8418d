"""Sessions as pages show them: the list, one session's calls, and what would have been cheaper."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from django.utils import timezone

from api.catalogue.snapshot import ModelEntry, Snapshot
from billing.models import UsageRecord
from billing.pricing.charge import Usage, charge_of
from billing.pricing.rates import Prices
from billing.usage.sessions import Session, session_of, sessions_of
from portal.ui.paging import PAGE_ROWS, Place, RowPage, page_of
from portal.ui.periods import last_days
from portal.usage.queries import near_in_session

PERIODS = (7, 30)


@dataclass(frozen=True)
class SessionPage:
    """A page of a team's sessions, and the moment before which the next page's ended."""

    rows: list[Session]
    next_before: str


@dataclass(frozen=True)
class Cheaper:
    """A model at whose current prices the same tokens would have cost less, in nano-dollars."""

    model: str
    cost_nanos: int
    saved_percent: int


def session_page(account_id: int, days: int, before: datetime | None) -> SessionPage:
    """Return a page of the sessions of the last days, the latest first."""
    span = last_days(days)
    found = sessions_of(account_id, span.since, span.until, before=before, limit=PAGE_ROWS + 1)
    rows = found[:PAGE_ROWS]
    more = len(found) > PAGE_ROWS
    return SessionPage(rows, rows[-1].last_at.isoformat() if more else "")


def read_moment(text: str) -> datetime | None:
    """Return the moment that a page's address names; None for one that names none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def calls_page(
    account_id: int, session_id: str, *, before: Place | None, after: Place | None
) -> RowPage[UsageRecord]:
    """Return a page of a session's requests, the newest first."""
    return page_of(partial(near_in_session, account_id, session_id), before=before, after=after)


def find_session(account_id: int, request_id: UUID) -> Session | None:
    """Return the session of one of the account's requests, or None."""
    return session_of(account_id, request_id)


def cheaper_model(session: Session, snapshot: Snapshot) -> Cheaper | None:
    """Return the cheapest other model for the session's tokens, if it costs less.

    A computation, at the prices of now: other models count other tokens and answer otherwise. Only
    models count that can do all that those of the session can: the kinds of input, the features,
    the context and the output. With context tiers, the highest that the longest prompt reaches
    applies to all of it, so that no model looks cheaper than it is. None for a session with images,
    videos or audio, and for one with a model that is no longer sold.
    """
    now = timezone.now()
    used = [snapshot.find(name) for name in session.models]
    if session.media or not session.charged_nanos or any(model is None for model in used):
        return None
    needed = [model for model in used if model is not None]
    usage = Usage(
        input_tokens=session.input_tokens,
        cached_tokens=session.cached_tokens,
        output_tokens=session.output_tokens,
        reasoning_tokens=session.reasoning_tokens,
        requests=session.requests - session.errors,
    )
    costs = [
        (_cost(prices, usage, session.longest_input), model.name)
        for model in snapshot.public_models(kind="chat")
        if model.name not in session.models
        and (prices := model.price_at(now)) is not None
        and _can_do(model, needed, session)
    ]
    cost_nanos, name = min(costs, default=(session.charged_nanos, ""))
    if cost_nanos >= session.charged_nanos:
        return None
    saved = session.charged_nanos - cost_nanos
    return Cheaper(name, cost_nanos, saved * 100 // session.charged_nanos)


def _can_do(model: ModelEntry, needed: Iterable[ModelEntry], session: Session) -> bool:
    """Return whether a model can do what those of a session can, at the session's lengths."""
    return (
        bool(model.routes)
        and session.longest_input + session.longest_output <= model.context_tokens
        and session.longest_output <= model.max_output_tokens
        and all(
            each.kind == model.kind
            and set(each.input_modalities) <= set(model.input_modalities)
            and each.features <= model.features
            and (model.is_coding or not each.is_coding)
            for each in needed
        )
    )


def _cost(prices: Prices, usage: Usage, longest_input: int) -> int:
    """Return what all of the usage costs at the price of the longest prompt."""
    *_, (step, _) = prices.within(longest_input) if prices.steps else [(prices, 0)]
    return charge_of(step, usage).total_nanos
