"""Invariants of charges: their lines, and the prices and contracts that these are from.

Each is a name, a rule and a query, as in `billing/ledger/invariants.py`.
"""

CHARGE_INVARIANTS = [
    (
        "I4 lines",
        "a line is its quantity at its rate and factor, and a charge is the sum of its lines",
        """
        WITH line AS (
            SELECT u.request_id, c.summary, l.line,
                   (l.line->>1)::numeric AS quantity, (l.line->>2)::numeric AS rate_nanos,
                   (l.line->>3)::numeric AS per, (l.line->>4)::numeric AS amount_nanos,
                   coalesce((l.line->>5)::numeric, 1000000) AS factor
            FROM billing_usagerecord u CROSS JOIN LATERAL jsonb_array_elements(u.lines) AS l(line)
            LEFT JOIN (VALUES {components}) AS c(name, summary) ON c.name = l.line->>0
            WHERE u.lines <> '[]')
        SELECT format('request %s: line %s', request_id, line) FROM line
        WHERE summary IS NULL OR quantity < 0 OR rate_nanos < 0
           OR amount_nanos IS DISTINCT FROM div(
                  quantity * rate_nanos * factor + div(per * 1000000, 2), nullif(per * 1000000, 0))
        UNION ALL
        SELECT format('request %s: record %s (%s + %s + %s + %s + %s), lines %s',
                      u.request_id, u.cost_nanos, u.input_nanos, u.cached_nanos, u.output_nanos,
                      u.reasoning_nanos, u.units_nanos, u.lines)
        FROM billing_usagerecord u
        JOIN (
            SELECT request_id, sum(amount_nanos) AS amount_nanos,
                   sum(amount_nanos) FILTER (WHERE summary = 'input_nanos') AS input_nanos,
                   sum(amount_nanos) FILTER (WHERE summary = 'cached_nanos') AS cached_nanos,
                   sum(amount_nanos) FILTER (WHERE summary = 'output_nanos') AS output_nanos,
                   sum(amount_nanos) FILTER (WHERE summary = 'reasoning_nanos') AS reasoning_nanos,
                   sum(amount_nanos) FILTER (WHERE summary = 'units_nanos') AS units_nanos
            FROM line GROUP BY request_id) AS s ON s.request_id = u.request_id
        WHERE u.cost_nanos IS DISTINCT FROM s.amount_nanos
           OR (u.input_nanos, u.cached_nanos, u.output_nanos, u.reasoning_nanos, u.units_nanos)
              IS DISTINCT FROM (coalesce(s.input_nanos, 0), coalesce(s.cached_nanos, 0),
                                coalesce(s.output_nanos, 0), coalesce(s.reasoning_nanos, 0),
                                coalesce(s.units_nanos, 0))
        """,
    ),
    (
        "I4 tiers",
        "each line of a charge has the factor of its price, and the tier that the input reached",
        """
        SELECT format('request %s: line %s of price version %s, contract %s, %s input tokens',
                      u.request_id, l.line, p.id, k.id, u.input_tokens)
        FROM billing_usagerecord u
        JOIN billing_priceversion p ON p.id = u.price_version_id
        LEFT JOIN billing_contractprice k ON k.id = (u.lines->0->>8)::bigint
        CROSS JOIN LATERAL (
            SELECT p.factor_millionths, p.context_tiers, p.service_tiers
            WHERE k.has_own_rates IS NOT true
            UNION ALL
            SELECT k.factor_millionths, k.context_tiers, k.service_tiers
            WHERE k.has_own_rates) AS price
        CROSS JOIN LATERAL (
            SELECT coalesce(max((each->>'above_input_tokens')::bigint), 0) AS above_input_tokens
            FROM jsonb_array_elements(price.context_tiers) AS each
            WHERE (each->>'above_input_tokens')::bigint < u.input_tokens) AS reached
        CROSS JOIN LATERAL jsonb_array_elements(u.lines) AS l(line)
        CROSS JOIN LATERAL (
            SELECT price.factor_millionths * CASE
                WHEN coalesce(l.line->>7, '') = '' THEN 1000000
                ELSE (price.service_tiers->>(l.line->>7))::numeric END / 1000000 AS listed) AS f
        CROSS JOIN LATERAL (  -- a contract's factor: rounded down, but never to zero
            SELECT CASE WHEN NOT k.has_own_rates
                        THEN greatest(1, div(f.listed * k.factor_millionths, 1000000))
                        ELSE f.listed END AS millionths) AS factor
        WHERE u.lines <> '[]' AND (
            coalesce(l.line->6, '0') <> to_jsonb(reached.above_input_tokens)
            OR coalesce(l.line->5, '1000000') IS DISTINCT FROM to_jsonb(factor.millionths))
        """,
    ),
    (
        "I4 rates",
        "each line of a charge has the rate that its price has for the tier that the input reached",
        """
        WITH component (name, whole, per, own_column, whole_column) AS (VALUES {rates}),
        price AS MATERIALIZED (
            SELECT p.id, 0 AS contract_id, p.context_tiers,
                   p.extra_rates || jsonb_strip_nulls(to_jsonb(p)) AS rates
            FROM billing_priceversion p
            UNION ALL
            SELECT NULL, k.id, k.context_tiers, k.extra_rates || jsonb_strip_nulls(to_jsonb(k))
            FROM billing_contractprice k WHERE k.has_own_rates)
        SELECT format('request %s: line %s of price version %s, %s input tokens', u.request_id,
                      l.line, p.id, u.input_tokens)
        FROM billing_usagerecord u
        LEFT JOIN price own ON own.id IS NULL AND own.contract_id = (u.lines->0->>8)::bigint
        JOIN price p ON p.contract_id = coalesce(own.contract_id, 0)
                    AND p.id IS NOT DISTINCT FROM
                        CASE WHEN own.contract_id IS NULL THEN u.price_version_id END
        CROSS JOIN LATERAL (  -- of several tiers that name a component, the highest
            SELECT coalesce(jsonb_object_agg(r.key, r.value
                                ORDER BY (each->>'above_input_tokens')::bigint), '{}') AS rates
            FROM jsonb_array_elements(p.context_tiers) AS each
            CROSS JOIN LATERAL jsonb_each(each->'rates') AS r
            WHERE (each->>'above_input_tokens')::bigint < u.input_tokens) AS tier
        CROSS JOIN LATERAL jsonb_array_elements(u.lines) AS l(line)
        JOIN component c ON c.name = l.line->>0
        CROSS JOIN LATERAL (
            SELECT coalesce(tier.rates->c.name, p.rates->c.own_column,
                            p.rates->c.whole_column) AS own,
                   -- A part that costs what its whole does still does in each tier.
                   CASE WHEN c.whole_column <> ''
                        THEN coalesce(tier.rates->c.whole, p.rates->c.whole_column) END AS whole
        ) AS rate
        WHERE u.lines <> '[]'
          AND (l.line->3 <> to_jsonb(c.per)
               OR (l.line->2 IS DISTINCT FROM rate.own AND l.line->2 IS DISTINCT FROM rate.whole))
        """,
    ),
    (
        "I4 contracts",
        "a contract price is an approved contract's of the request's team and model",
        """
        SELECT format('request %s: contract %s in line %s', u.request_id, u.lines->0->8, l.line)
        FROM billing_usagerecord u
        JOIN billing_creditaccount a ON a.id = u.account_id
        CROSS JOIN LATERAL jsonb_array_elements(u.lines) AS l(line)
        LEFT JOIN billing_contractprice k ON k.id = (u.lines->0->>8)::bigint
        LEFT JOIN billing_priceversion p ON p.id = u.price_version_id
        LEFT JOIN billing_reservation r ON r.id = u.request_id
        WHERE u.lines <> '[]' AND (
            (l.line->8) IS DISTINCT FROM (u.lines->0->8)
            OR (u.lines->0->8 IS NOT NULL AND (
                k.id IS NULL OR k.state <> 'approved' OR k.team_id IS DISTINCT FROM a.team_id
                OR (k.product_id IS NOT NULL AND k.product_id IS DISTINCT FROM p.product_id)
                -- Clocks differ, and what sets or ends a contract may commit late.
                OR k.effective_from > u.created_at + interval '1 hour'
                OR k.ends_at < r.created_at - interval '1 hour')))
        UNION ALL
        SELECT format('request %s: at the list price, in spite of contract %s', u.request_id, k.id)
        FROM billing_contractprice k
        JOIN billing_creditaccount a ON a.team_id = k.team_id
        JOIN billing_usagerecord u ON u.account_id = a.id
        JOIN billing_reservation r ON r.id = u.request_id
        JOIN billing_priceversion p ON p.id = u.price_version_id
        WHERE k.state = 'approved' AND u.lines <> '[]' AND u.lines->0->8 IS NULL
          AND (k.product_id IS NULL OR k.product_id = p.product_id)
          AND r.created_at > greatest(k.effective_from, k.decided_at) + interval '1 hour'
          AND (k.ends_at IS NULL OR r.created_at < k.ends_at - interval '1 hour')
        """,
    ),
]
