-- The sweep: ends reservations whose request never settled, because its process died. It releases
-- the hold and writes a usage record that says why; a settlement that still comes replaces it.

CREATE OR REPLACE FUNCTION billing_sweep(row_limit integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    due record;
    ended integer := 0;
BEGIN
    FOR due IN
        SELECT r.id, r.account_id, r.key_id, r.amount_nanos, r.price_version_id, r.model,
               r.surface, r.created_at
        FROM billing_creditaccount a
        JOIN (
            SELECT * FROM billing_reservation
            WHERE state = 'open' AND expires_at < now()
            ORDER BY expires_at LIMIT row_limit
        ) AS r ON r.account_id = a.id
        ORDER BY a.id, r.id
        FOR NO KEY UPDATE OF a
    LOOP
        UPDATE billing_reservation SET state = 'expired', ended_at = now()
        WHERE id = due.id AND state = 'open';
        CONTINUE WHEN NOT FOUND;
        UPDATE billing_creditaccount SET held_nanos = held_nanos - due.amount_nanos
        WHERE id = due.account_id;
        UPDATE billing_keyspend SET held_nanos = held_nanos - due.amount_nanos
        WHERE key_id = due.key_id;
        INSERT INTO billing_usagerecord (
            request_id, account_id, key_id, price_version_id, model, surface, endpoint, streamed,
            upstream, upstream_request_id, end_user,
            input_tokens, cached_tokens, output_tokens, reasoning_tokens, images, seconds, pieces,
            input_nanos, cached_nanos, output_nanos, reasoning_nanos, units_nanos,
            cost_nanos, charged_nanos, written_off_nanos, upstream_cost_nanos, reserved_nanos,
            source, outcome, is_late, status, error, finish_reason, attempts, latency_ms,
            created_at)
        VALUES (
            due.id, due.account_id, due.key_id, due.price_version_id, due.model, due.surface, '',
            false, '', '', '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, due.amount_nanos,
            'none', 'expired', false, 0,
            'The process that served this request ended before it could settle it.', '', '[]',
            (extract(epoch FROM now() - due.created_at) * 1000)::integer, now());
        ended := ended + 1;
    END LOOP;
    RETURN ended;
END
$$;
