-- The whole service's usage by hour, model and upstream, and each team's by day, made anew for the
-- hours from `since` to before `until`: a repeat changes nothing. billing_roll_up comes first, as
-- teams' days are sums of its hours.
CREATE OR REPLACE FUNCTION billing_roll_up_service(since timestamptz, until timestamptz)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    first_hour timestamptz := date_trunc('hour', since, 'UTC');
    first_day timestamptz := date_trunc('day', since, 'UTC');
    end_of_days timestamptz := date_trunc('day', until - interval '1 microsecond', 'UTC')
        + interval '1 day';
    written integer;
BEGIN
    -- Two roll-ups at once would insert the same hours.
    PERFORM pg_advisory_xact_lock(hashtext('billing_roll_up'));
    DELETE FROM billing_servicehour WHERE hour >= first_hour AND hour < until;
    INSERT INTO billing_servicehour (
        hour, model, upstream, requests, errors, input_tokens, output_tokens, charged_nanos,
        upstream_cost_nanos)
    SELECT date_trunc('hour', created_at, 'UTC'), model, upstream,
           count(*), count(*) FILTER (WHERE outcome NOT IN ('completed', 'client_closed')),
           sum(input_tokens), sum(output_tokens), sum(charged_nanos), sum(upstream_cost_nanos)
    FROM billing_usagerecord
    WHERE created_at >= first_hour AND created_at < until
    GROUP BY 1, 2, 3;
    GET DIAGNOSTICS written = ROW_COUNT;
    DELETE FROM billing_teamday
    WHERE day >= (first_day AT TIME ZONE 'UTC')::date
        AND day < (end_of_days AT TIME ZONE 'UTC')::date;
    INSERT INTO billing_teamday (
        day, account_id, requests, errors, input_tokens, output_tokens, charged_nanos,
        upstream_cost_nanos)
    SELECT (hour AT TIME ZONE 'UTC')::date, account_id, sum(requests), sum(errors),
           sum(input_tokens), sum(output_tokens), sum(charged_nanos), sum(upstream_cost_nanos)
    FROM billing_usagehour
    WHERE hour >= first_day AND hour < end_of_days
    GROUP BY 1, 2;
    RETURN written;
END
$$;
