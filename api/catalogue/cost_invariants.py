"""Invariants of what upstreams charge us, which `check_ledger` proves with the ledger's own.

They mirror those of charges in `billing/ledger/invariants.py`. The input that decides the context
tier is that in the lines of an attempt: the customer's may be less.
"""

from billing.ledger.invariants import Invariant

COST_INVARIANTS = [
    Invariant(
        "I4 cost lines",
        "a line of a cost is its quantity at its rate and factor, an attempt's cost is the sum of "
        "its lines, and the upstreams' cost of a request the sum of its attempts'",
        """
        WITH attempt AS (
            SELECT u.request_id, u.upstream_cost_nanos, a.cost, a.number
            FROM billing_usagerecord u
            CROSS JOIN LATERAL jsonb_array_elements(u.cost_lines) WITH ORDINALITY AS a(cost, number)
            WHERE u.cost_lines <> '[]'),
        line AS (
            SELECT request_id, number, l.line, (l.line->>1)::numeric AS quantity,
                   (l.line->>2)::numeric AS rate_nanos, (l.line->>3)::numeric AS per,
                   (l.line->>4)::numeric AS amount_nanos,
                   coalesce((l.line->>5)::numeric, 1000000) AS factor
            FROM attempt CROSS JOIN LATERAL jsonb_array_elements(cost->'lines') AS l(line))
        SELECT format('request %s: line %s of its cost', request_id, line) FROM line
        WHERE quantity < 0 OR rate_nanos < 0
           OR amount_nanos IS DISTINCT FROM div(
                  quantity * rate_nanos * factor + div(per * 1000000, 2), nullif(per * 1000000, 0))
        UNION ALL
        SELECT format('request %s: cost %s, lines %s', request_id, cost, sum)
        FROM attempt LEFT JOIN (SELECT request_id, number, sum(amount_nanos)
                                FROM line GROUP BY 1, 2) AS lines USING (request_id, number)
        WHERE (cost->>'amount_nanos')::numeric IS DISTINCT FROM coalesce(sum, 0)
        UNION ALL
        SELECT format('request %s: cost of upstreams %s, attempts %s', request_id,
                      upstream_cost_nanos, sum((cost->>'amount_nanos')::numeric))
        FROM attempt GROUP BY request_id, upstream_cost_nanos
        HAVING upstream_cost_nanos IS DISTINCT FROM sum((cost->>'amount_nanos')::numeric)
        """,
    ),
    Invariant(
        "I4 cost rates",
        "each line of a cost has the rate, the factor and the tier that the route's cost has, in a "
        "version that was in force",
        """
        WITH component (name, whole, per, own_column, whole_column) AS (VALUES {rates}),
        version AS MATERIALIZED (
            SELECT c.*, c.extra_rates || jsonb_strip_nulls(to_jsonb(c)) AS rates
            FROM api_routecost c),
        attempt AS (
            SELECT u.request_id, u.created_at, a.cost, (a.cost->>'route_cost')::bigint AS version,
                   (SELECT coalesce(sum((l->>1)::bigint), 0)
                    FROM jsonb_array_elements(a.cost->'lines') AS l
                    JOIN component c ON c.name = l->>0 AND 'input' IN (c.name, c.whole)) AS input
            FROM billing_usagerecord u
            CROSS JOIN LATERAL jsonb_array_elements(u.cost_lines) AS a(cost)
            WHERE u.cost_lines <> '[]'),
        line AS (
            SELECT t.request_id, v.*, l.line, c.name, c.whole, c.per, c.own_column, c.whole_column,
                   reached.above_input_tokens, reached.rates AS tier_rates
            FROM attempt t
            JOIN version v ON v.id = t.version
            CROSS JOIN LATERAL (  -- of several tiers that name a component, the highest
                SELECT coalesce(max((each->>'above_input_tokens')::bigint), 0)
                           AS above_input_tokens,
                       coalesce(jsonb_object_agg(
                           r.key, r.value ORDER BY (each->>'above_input_tokens')::bigint
                       ) FILTER (WHERE r.key IS NOT NULL), '{}') AS rates
                FROM jsonb_array_elements(v.context_tiers) AS each
                LEFT JOIN LATERAL jsonb_each(each->'rates') AS r ON true
                WHERE (each->>'above_input_tokens')::bigint < t.input) AS reached
            CROSS JOIN LATERAL jsonb_array_elements(t.cost->'lines') AS l(line)
            LEFT JOIN component c ON c.name = l.line->>0)
        SELECT format('request %s: line %s by version %s of its cost', request_id, line, id)
        FROM line
        WHERE name IS NULL OR line->3 <> to_jsonb(per)
           OR (line->2 IS DISTINCT FROM coalesce(
                   tier_rates->name, rates->own_column, rates->whole_column)
               AND line->2 IS DISTINCT FROM CASE WHEN whole_column <> '' THEN coalesce(
                   tier_rates->whole, rates->whole_column) END)
           OR coalesce(line->6, '0') <> to_jsonb(above_input_tokens)
           OR coalesce(line->5, '1000000') IS DISTINCT FROM to_jsonb(
                  factor_millionths * CASE WHEN coalesce(line->>7, '') = '' THEN 1000000
                      ELSE (service_tiers->>(line->>7))::numeric END / 1000000)
        UNION ALL
        SELECT format('request %s: version %s of its cost', t.request_id, t.version)
        FROM attempt t LEFT JOIN version v ON v.id = t.version
        WHERE v.id IS NULL OR v.effective_from > t.created_at + interval '1 minute'
        """,
    ),
]
