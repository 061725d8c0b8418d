-- The sweep: ends reservations whose request never settled, because its process died. It releases
-- the hold and writes a usage record that says why; a settlement that still comes replaces it.
--
-- A reservation is due if it has expired, or if the lease of the process that made it has ended
-- since. (What such a process admits before it learns of this expires at its own time.)

CREATE OR REPLACE FUNCTION billing_sweep(row_limit integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    due uuid[];
    swept integer;
BEGIN
    -- 1. Find what is due, and lock its accounts.
    SELECT array_agg(id) INTO due FROM (
        SELECT r.id FROM billing_reservation r
        LEFT JOIN billing_processlease l ON l.id = r.lease_id
        WHERE r.state = 'open' AND (r.expires_at < now() OR r.created_at < l.ended_at)
        ORDER BY r.expires_at LIMIT row_limit
    ) AS expired;
    PERFORM a.id FROM billing_creditaccount a
    WHERE a.id IN (SELECT account_id FROM billing_reservation WHERE id = ANY (due))
    ORDER BY a.id FOR NO KEY UPDATE OF a;

    -- 2. End it.
    WITH ended AS (
        UPDATE billing_reservation SET state = 'expired', ended_at = now()
        WHERE id = ANY (due) AND state = 'open'
        RETURNING id, account_id, key_id, price_version_id, amount_nanos, model, surface,
                  created_at, expires_at, is_call, spend_ids
    ), released AS (
        UPDATE billing_creditaccount a
        SET held_nanos = a.held_nanos - e.amount_nanos, open_calls = a.open_calls - e.calls
        FROM (SELECT account_id, sum(amount_nanos)::bigint AS amount_nanos,
                     count(*) FILTER (WHERE is_call) AS calls
              FROM ended GROUP BY account_id) AS e
        WHERE a.id = e.account_id
    ), released_keys AS (
        UPDATE billing_keyspend s SET held_nanos = s.held_nanos - e.amount_nanos
        FROM (SELECT key_id, sum(amount_nanos)::bigint AS amount_nanos
              FROM ended GROUP BY key_id) AS e
        WHERE s.key_id = e.key_id
    ), released_budgets AS (
        UPDATE billing_budgetspend s SET held_nanos = s.held_nanos - e.amount_nanos
        FROM (SELECT u.spend_id, sum(amount_nanos)::bigint AS amount_nanos
              FROM ended CROSS JOIN LATERAL unnest(spend_ids) AS u(spend_id)
              GROUP BY u.spend_id) AS e
        WHERE s.id = e.spend_id
    )
    INSERT INTO billing_usagerecord (
        request_id, account_id, key_id, price_version_id, model, surface, endpoint, streamed,
        upstream, upstream_request_id, end_user,
        input_tokens, cached_tokens, output_tokens, reasoning_tokens, images, seconds, pieces,
        input_nanos, cached_nanos, output_nanos, reasoning_nanos, units_nanos,
        cost_nanos, charged_nanos, written_off_nanos, upstream_cost_nanos, reserved_nanos,
        source, outcome, is_late, status, error, finish_reason, attempts, latency_ms, spend_ids,
        created_at)
    SELECT id, account_id, key_id, price_version_id, model, surface, '', false, '', '', '',
           0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, amount_nanos,
           'none', 'expired', false, 0,
           CASE WHEN expires_at < now()
                THEN 'The process that served this request ended before it could settle it.'
                ELSE 'The process that served this request died before it could settle it.' END,
           '', '[]',
           least(2147483647, extract(epoch FROM now() - created_at) * 1000)::integer, spend_ids, now()
    FROM ended;
    GET DIAGNOSTICS swept = ROW_COUNT;

    -- 3. Delete the minutes of free models that are long over: after the accounts, since admission
    -- locks in this order.
    DELETE FROM billing_freewindow WHERE subject IN (
        SELECT subject FROM billing_freewindow WHERE started_at < now() - interval '1 hour'
        FOR UPDATE SKIP LOCKED);
    RETURN swept;
END
$$;
