"""The comparison of an upstream's export with our records, in SQL.

Requests have no index by their upstream's id, since it would slow each settlement. The records of
the export's period are read once, by their time, into a temporary table that is joined with the
lines. All of it is part of the caller's transaction.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from django.db import connection

from billing.models import UpstreamStatement
from billing.pricing.components import COMPONENTS
from billing.reconciliation.export_file import ExportLine

# Our records are dated when they end, exports often when requests begin; and clocks differ.
MARGIN = timedelta(days=1)
MOST_GROUPS = 400
_COPY_LINES = 20_000
_MOST_CONFLICTS = 20

_CREATE_IMPORT = """
CREATE TEMPORARY TABLE statement_import (
    number integer, upstream_request_id text, at timestamptz, is_date boolean, model text,
    input_tokens bigint, cached_tokens bigint, output_tokens bigint, cost_nanos bigint
) ON COMMIT DROP
"""
_COPY = "COPY statement_import FROM STDIN"
_INSERT = """
INSERT INTO billing_statementline (
    statement_id, upstream, line_number, upstream_request_id, at, model, input_tokens,
    cached_tokens, output_tokens, cost_nanos, our_input_tokens, our_cached_tokens,
    our_output_tokens, our_cost_nanos, is_estimated, state, correction, correction_nanos)
SELECT DISTINCT ON (i.upstream_request_id)
       %(statement)s, %(upstream)s, i.number, i.upstream_request_id, i.at, i.model, i.input_tokens,
       i.cached_tokens, i.output_tokens, i.cost_nanos, 0, 0, 0, 0, false, 'missing_here', 'none', 0
FROM statement_import i WHERE i.upstream_request_id <> ''
ORDER BY i.upstream_request_id, i.number
ON CONFLICT (upstream, upstream_request_id) WHERE line_number IS NOT NULL DO NOTHING
"""
_CONFLICTS = """
SELECT i.number FROM statement_import i
JOIN billing_statementline l ON l.upstream = %(upstream)s
    AND l.upstream_request_id = i.upstream_request_id AND l.line_number IS NOT NULL
WHERE (i.at, i.input_tokens, i.cached_tokens, i.output_tokens, i.cost_nanos)
      IS DISTINCT FROM (l.at, l.input_tokens, l.cached_tokens, l.output_tokens, l.cost_nanos)
ORDER BY i.number
"""
_PERIOD = """
SELECT min(at), max(at + CASE WHEN is_date THEN interval '1 day' ELSE interval '0' END),
       count(*), count(*) FILTER (WHERE upstream_request_id = ''),
       coalesce(sum(cost_nanos) FILTER (WHERE upstream_request_id = ''), 0)
FROM statement_import
"""

# What a request used and cost us at one upstream. Of one that wasn't charged, the tokens are those
# of the cost: an upstream may bill for an answer that the customer doesn't pay for.
_OURS = """
CREATE TEMPORARY TABLE statement_ours ON COMMIT DROP AS
SELECT DISTINCT ON (u.upstream_request_id)
       u.upstream_request_id, u.request_id, u.created_at,
       u.created_at - u.latency_ms * interval '1 millisecond' AS started_at,
       coalesce(nullif(u.attempts->-1->>'upstream_model', ''), u.model) AS model,
       CASE WHEN u.source = 'none' THEN billed.input ELSE u.input_tokens END AS input_tokens,
       CASE WHEN u.source = 'none' THEN billed.cached ELSE u.cached_tokens END AS cached_tokens,
       CASE WHEN u.source = 'none' THEN billed.output ELSE u.output_tokens END AS output_tokens,
       CASE WHEN u.cost_lines = '[]' THEN u.upstream_cost_nanos ELSE billed.nanos END AS cost_nanos,
       u.source, count(*) OVER (PARTITION BY u.upstream_request_id) = 1 AS is_only
FROM billing_usagerecord u
CROSS JOIN LATERAL (
    SELECT coalesce(sum(quantity) FILTER (WHERE component = ANY (%(input)s)), 0)::bigint AS input,
           coalesce(sum(quantity) FILTER (WHERE component = 'cached_input'), 0)::bigint AS cached,
           coalesce(sum(quantity) FILTER (WHERE component = ANY (%(output)s)), 0)::bigint AS output,
           coalesce(sum(nanos), 0)::bigint AS nanos
    FROM (
        SELECT line->>0 AS component, (line->>1)::numeric AS quantity, (line->>4)::numeric AS nanos
        FROM jsonb_array_elements(u.cost_lines) AS cost
        CROSS JOIN LATERAL jsonb_array_elements(cost->'lines') AS line
        WHERE cost->>'upstream' = u.upstream) AS line
) AS billed
WHERE u.created_at BETWEEN %(from)s AND %(to)s AND u.upstream = %(upstream)s
ORDER BY u.upstream_request_id, u.created_at, u.request_id
"""
_FORGET = """
DELETE FROM billing_statementline WHERE statement_id = %(statement)s AND line_number IS NULL
"""
_UNMATCH = """
UPDATE billing_statementline
SET request_id = NULL, our_input_tokens = 0, our_cached_tokens = 0, our_output_tokens = 0,
    our_cost_nanos = 0, is_estimated = false, state = 'missing_here', correction = 'none',
    correction_nanos = 0
WHERE statement_id = %(statement)s AND correction <> 'posted' AND request_id IS NOT NULL
"""
# Costs in an export are rounded: a millionth of a dollar, or a thousandth of it, is no difference.
_MATCH = """
UPDATE billing_statementline l
SET request_id = o.request_id, model = coalesce(nullif(l.model, ''), o.model),
    our_input_tokens = o.input_tokens, our_cached_tokens = o.cached_tokens,
    our_output_tokens = o.output_tokens, our_cost_nanos = o.cost_nanos,
    is_estimated = o.source = 'estimated' AND o.is_only,
    state = CASE WHEN coalesce(l.input_tokens, o.input_tokens) = o.input_tokens
                  AND coalesce(l.cached_tokens, o.cached_tokens) = o.cached_tokens
                  AND coalesce(l.output_tokens, o.output_tokens) = o.output_tokens
                  AND abs(coalesce(l.cost_nanos, o.cost_nanos) - o.cost_nanos)
                      <= greatest(1000, abs(o.cost_nanos) / 1000)
                 THEN 'equal' ELSE 'different' END
FROM statement_ours o
WHERE l.statement_id = %(statement)s AND l.upstream_request_id = o.upstream_request_id
  AND l.correction <> 'posted'
"""
_MISSING_THERE = """
INSERT INTO billing_statementline (
    statement_id, upstream, line_number, upstream_request_id, at, model, request_id,
    our_input_tokens, our_cached_tokens, our_output_tokens, our_cost_nanos, is_estimated, state,
    correction, correction_nanos)
SELECT %(statement)s, %(upstream)s, NULL, o.upstream_request_id, o.started_at, o.model,
       o.request_id, o.input_tokens, o.cached_tokens, o.output_tokens, o.cost_nanos,
       o.source = 'estimated', 'missing_there', 'none', 0
FROM statement_ours o
WHERE o.started_at >= %(since)s AND o.created_at <= %(until)s AND o.upstream_request_id <> ''
  AND (o.source <> 'none' OR o.cost_nanos > 0)
  AND NOT EXISTS (
      SELECT FROM billing_statementline l
      WHERE l.upstream = %(upstream)s AND l.upstream_request_id = o.upstream_request_id)
"""
_WITHOUT_ID = """
SELECT count(*), coalesce(sum(upstream_cost_nanos), 0)::bigint FROM billing_usagerecord
WHERE created_at BETWEEN %(since)s AND %(until)s AND upstream = %(upstream)s
  AND upstream_request_id = '' AND (source <> 'none' OR upstream_cost_nanos > 0)
"""
_GROUPS = """
SELECT {group} AS name,
       count(line_number) AS their_requests, count(request_id) AS our_requests,
       coalesce(sum(input_tokens), 0)::bigint AS their_input_tokens,
       sum(our_input_tokens)::bigint AS our_input_tokens,
       coalesce(sum(output_tokens), 0)::bigint AS their_output_tokens,
       sum(our_output_tokens)::bigint AS our_output_tokens,
       CASE WHEN %(has_costs)s THEN coalesce(sum(cost_nanos), 0)::bigint END AS their_cost_nanos,
       sum(our_cost_nanos)::bigint AS our_cost_nanos,
       count(*) FILTER (WHERE state = 'different') AS different,
       count(*) FILTER (WHERE state = 'missing_here') AS missing_here,
       count(*) FILTER (WHERE state = 'missing_there') AS missing_there,
       count(*) FILTER (WHERE is_estimated) AS estimated
FROM billing_statementline WHERE statement_id = %(statement)s
GROUP BY 1 ORDER BY {order} LIMIT {limit}
"""
_DAY = "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"

Item = TypeVar("Item")


def store_lines(statement: UpstreamStatement, lines: Iterable[ExportLine]) -> None:
    """Store an export's lines, and set the statement's counts and period.

    A request that the upstream's exports had before keeps its first figures.
    """
    named: dict[str, Any] = {"statement": statement.pk, "upstream": statement.upstream}
    with connection.cursor() as cursor:
        cursor.execute(_CREATE_IMPORT)
        # Between the batches, since the lines may be read by the same connection.
        for batch in _batches(lines, _COPY_LINES):
            with cursor.copy(_COPY) as copy:
                for line in batch:
                    copy.write_row(line)
        cursor.execute("ANALYZE statement_import")
        cursor.execute(_PERIOD)
        (
            statement.since,
            statement.until,
            statement.lines_read,
            statement.lines_without_id,
            statement.without_id_nanos,
        ) = cursor.fetchone()
        cursor.execute(_INSERT, named)
        inserted = cursor.rowcount
        cursor.execute(_CONFLICTS, named)
        conflicts = [number for (number,) in cursor.fetchall()]
        cursor.execute("DROP TABLE statement_import")
    statement.lines_conflicting = len(conflicts)
    statement.conflicts = conflicts[:_MOST_CONFLICTS]
    statement.lines_repeated = (
        statement.lines_read - statement.lines_without_id - inserted - len(conflicts)
    )


def compare(statement: UpstreamStatement) -> None:
    """Match the statement's lines with our records, and list those of ours that it lacks.

    Lines whose correction was posted stay as they were.
    """
    since, until = statement.since, statement.until
    if since is None or until is None:
        raise ValueError("A statement is read before it is compared.")
    named: dict[str, Any] = {
        "statement": statement.pk,
        "upstream": statement.upstream,
        "since": since,
        "until": until,
        "from": since - MARGIN,
        "to": until + MARGIN,
        "input": _parts_of("input"),
        "output": _parts_of("output"),
    }
    with connection.cursor() as cursor:
        cursor.execute(_OURS, named)
        cursor.execute("ANALYZE statement_ours")
        for query in (_FORGET, _UNMATCH, _MATCH, _MISSING_THERE):
            cursor.execute(query, named)
        cursor.execute("DROP TABLE statement_ours")
        cursor.execute(_WITHOUT_ID, named)
        requests, cost_nanos = cursor.fetchone()
    statement.drift = {
        "total": next(iter(_groups(statement, "''", "1", 1)), None),
        "days": _groups(statement, _DAY, "1", MOST_GROUPS),
        "models": _groups(statement, "model", "count(*) DESC, 1", MOST_GROUPS),
        "without_id": {"requests": requests, "cost_nanos": cost_nanos},
    }


def _groups(
    statement: UpstreamStatement, group: str, order: str, limit: int
) -> list[dict[str, Any]]:
    query = _GROUPS.format(group=group, order=order, limit=limit)
    with connection.cursor() as cursor:
        has_costs = bool(statement.columns.get("cost"))
        cursor.execute(query, {"statement": statement.pk, "has_costs": has_costs})
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _parts_of(whole: str) -> list[str]:
    return [name for name, each in COMPONENTS.items() if whole in (name, each.part_of)]


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
