"""The simulator's bill by its own journal: an export, and two providers' usage APIs.

It bills $1 for a million prompt tokens and $2 for a million others, whatever the model. A call
counts at its start, in UTC, if any of it was answered.
"""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange
from simulator.journal import Entry, journal
from simulator.script import split_model

INPUT_DOLLARS, OUTPUT_DOLLARS = 1e-6, 2e-6
_HEADER = ("request_id", "created_at", "model", "input_tokens", "output_tokens", "cost_usd")

# Sums by day and model: requests, prompt tokens, other tokens.
Sums = dict[tuple[date, str], list[int]]


async def export(exchange: HttpExchange) -> None:
    """Answer a CSV file with a line for each call, as providers' billing pages export it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEADER)
    for entry in _billed():
        at = datetime.fromtimestamp(entry.started_at, UTC).isoformat()
        tokens = (entry.prompt_tokens, entry.tokens_sent)
        cost = f"{_dollars(*tokens):.9f}"
        rows.writerow((entry.answer_id, at, split_model(entry.model)[0], *tokens, cost))
    await exchange.start(200, "text/csv")
    await exchange.write(text.getvalue().encode())
    await exchange.finish()


async def usage(exchange: HttpExchange) -> None:
    """Answer as OpenAI's `GET /organization/usage/completions` does, by day and model."""
    await _answer_buckets(
        exchange,
        lambda model, requests, prompt, other: [
            {
                "object": "organization.usage.completions.result",
                "model": model,
                "num_model_requests": requests,
                "input_tokens": prompt,
                "output_tokens": other,
                "input_cached_tokens": 0,
            }
        ],
    )


async def costs(exchange: HttpExchange) -> None:
    """Answer as OpenAI's `GET /organization/costs` does, by day and line item."""
    await _answer_buckets(
        exchange,
        lambda model, _requests, prompt, other: [
            {
                "object": "organization.costs.result",
                "amount": {"value": _dollars(*tokens), "currency": "usd"},
                "line_item": f"{model}, {kind}",
            }
            for kind, tokens in (("input", (prompt, 0)), ("output", (0, other)))
        ],
    )


async def activity(exchange: HttpExchange) -> None:
    """Answer as OpenRouter's `GET /activity` does, by day and model."""
    rows = [
        {
            "date": day.isoformat(),
            "model": model,
            "usage": _dollars(prompt, other),
            "requests": requests,
            "prompt_tokens": prompt,
            "completion_tokens": other,
        }
        for (day, model), (requests, prompt, other) in _sums().items()
    ]
    await exchange.answer(200, {"data": rows})


async def _answer_buckets(exchange: HttpExchange, results: Any) -> None:
    """Answer a page of one bucket for each day from `start_time` to before `end_time`."""
    query = exchange.request.query
    try:
        since, until = int(query["start_time"]), int(query.get("end_time", 2**33))
    except (KeyError, ValueError):
        raise SimulatedError("start_time: unix seconds", param="start_time") from None
    days: dict[int, list[Any]] = {}
    for (day, model), sums in _sums().items():
        start = int(datetime.combine(day, datetime.min.time(), UTC).timestamp())
        if since <= start < until:
            days.setdefault(start, []).extend(results(model, *sums))
    buckets = [
        {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": found}
        for start, found in sorted(days.items())
    ]
    page = {"object": "page", "data": buckets, "has_more": False, "next_page": None}
    await exchange.answer(200, page)


def _sums() -> Sums:
    found: Sums = {}
    for entry in _billed():
        day = datetime.fromtimestamp(entry.started_at, UTC).date()
        sums = found.setdefault((day, split_model(entry.model)[0]), [0, 0, 0])
        for place, count in enumerate((1, entry.prompt_tokens, entry.tokens_sent)):
            sums[place] += count
    return found


def _billed() -> Iterator[Entry]:
    return (entry for entry in journal.find() if entry.model and entry.status == 200)


def _dollars(prompt: int, other: int) -> float:
    return prompt * INPUT_DOLLARS + other * OUTPUT_DOLLARS
