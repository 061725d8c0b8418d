-- Usage by hour, key and model, made anew for every hour from `since` on: a repeat changes nothing.
CREATE OR REPLACE FUNCTION billing_roll_up(since timestamptz)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    -- Two roll-ups at once would insert the same hours.
    PERFORM pg_advisory_xact_lock(hashtext('billing_roll_up'));
    DELETE FROM billing_usagehour WHERE hour >= date_trunc('hour', since, 'UTC');
    INSERT INTO billing_usagehour (
        hour, account_id, key_id, model, requests, errors, input_tokens, cached_tokens,
        output_tokens, reasoning_tokens, images, charged_nanos, upstream_cost_nanos,
        latency_ms_total, first_token_ms_total, first_token_count)
    SELECT date_trunc('hour', created_at, 'UTC'), account_id, key_id, model,
           count(*), count(*) FILTER (WHERE outcome NOT IN ('completed', 'client_closed')),
           sum(input_tokens), sum(cached_tokens), sum(output_tokens), sum(reasoning_tokens),
           sum(images), sum(charged_nanos), sum(upstream_cost_nanos), sum(latency_ms),
           coalesce(sum(first_token_ms), 0), count(first_token_ms)
    FROM billing_usagerecord
    WHERE created_at >= date_trunc('hour', since, 'UTC')
    GROUP BY 1, 2, 3, 4;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;
