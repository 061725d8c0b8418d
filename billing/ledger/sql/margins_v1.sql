-- Each team's usage by day, model and upstream, made anew for the days from `first_day` to
-- `last_day` (UTC): a repeat changes nothing.
CREATE OR REPLACE FUNCTION billing_roll_up_margins(first_day date, last_day date)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz := first_day::timestamp AT TIME ZONE 'UTC';
    until timestamptz := (last_day + 1)::timestamp AT TIME ZONE 'UTC';
    written integer;
BEGIN
    -- Two roll-ups at once would insert the same days.
    PERFORM pg_advisory_xact_lock(hashtext('billing_roll_up_margins'));
    DELETE FROM billing_marginday WHERE day BETWEEN first_day AND last_day;
    INSERT INTO billing_marginday (
        day, account_id, model, upstream, requests, errors, input_tokens, output_tokens,
        charged_nanos, upstream_cost_nanos)
    SELECT (created_at AT TIME ZONE 'UTC')::date, account_id, model, upstream,
           count(*), count(*) FILTER (WHERE outcome NOT IN ('completed', 'client_closed')),
           sum(input_tokens), sum(output_tokens), sum(charged_nanos), sum(upstream_cost_nanos)
    FROM billing_usagerecord
    WHERE created_at >= since AND created_at < until
    GROUP BY 1, 2, 3, 4;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;
