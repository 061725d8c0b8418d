-- The growth of answers: tokens of a running request beyond those that admission counted.
--
-- `batch` is a JSON array of requests with their account and tokens so far. New tokens count in the
-- key's current minute, which starts here if there is none: a long answer uses each minute that it
-- runs in, not only the first.

CREATE OR REPLACE FUNCTION billing_count_growth(batch jsonb)
RETURNS TABLE (request_id uuid, code text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    minute_ago constant timestamptz := now() - interval '1 minute';
    request record;
    counted_in timestamptz;  -- the minute's start
BEGIN
    -- As in admission: the lock of the account guards the minutes of its keys.
    PERFORM a.id FROM jsonb_to_recordset(batch) AS r(account_id bigint)
    JOIN billing_creditaccount a ON a.id = r.account_id
    ORDER BY a.id FOR NO KEY UPDATE OF a;

    FOR request IN
        SELECT h.id, h.key_id, max(r.tokens) - h.tokens_counted AS growth
        FROM jsonb_to_recordset(batch) AS r(request_id uuid, account_id bigint, tokens bigint)
        JOIN billing_reservation h ON h.id = r.request_id AND h.account_id = r.account_id
        WHERE h.state = 'open'
        GROUP BY h.id HAVING max(r.tokens) > h.tokens_counted
        ORDER BY h.account_id, h.key_id, h.id
    LOOP
        INSERT INTO billing_ratewindow AS w (key_id, started_at, requests, tokens, model_requests)
        VALUES (request.key_id, now(), 0, request.growth, '{}')
        ON CONFLICT (key_id) DO UPDATE
        SET started_at = CASE WHEN w.started_at > minute_ago THEN w.started_at ELSE now() END,
            requests = CASE WHEN w.started_at > minute_ago THEN w.requests ELSE 0 END,
            tokens = CASE WHEN w.started_at > minute_ago THEN w.tokens ELSE 0 END + excluded.tokens,
            model_requests = CASE WHEN w.started_at > minute_ago THEN w.model_requests
                                  ELSE '{}' END
        RETURNING w.started_at INTO counted_in;

        UPDATE billing_reservation h
        SET tokens_counted = h.tokens_counted + request.growth,
            window_started_at = counted_in
        WHERE h.id = request.id;
        request_id := request.id;
        code := 'counted';
        RETURN NEXT;
    END LOOP;
END
$$;
