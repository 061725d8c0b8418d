-- Settlement: the end of reservations, with the charge and the usage record of each request.
--
-- `batch` is a JSON array of gate.Settlement. One row comes back for each whose account exists.
-- Locks, decides and writes as admit.sql does.

CREATE OR REPLACE FUNCTION billing_settle(batch jsonb)
RETURNS TABLE (
    request_id uuid, code text,
    charged_nanos bigint, written_off_nanos bigint, balance_nanos bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    done record;
    ended billing_ended[] := '{}';
    settled billing_settled_key[] := '{}';
    own billing_settled_key;  -- the key of the request at hand, as this batch leaves it
    current_account bigint;
    current_request uuid;
    posted bigint;
    held bigint;
    last_sequence bigint;
    charge bigint;
    overran boolean := false;  -- whether a request cost more than its hold, or than was charged
    verdict text;
    written boolean;
BEGIN
    PERFORM a.id FROM jsonb_to_recordset(batch) AS r(account_id bigint)
    JOIN billing_creditaccount a ON a.id = r.account_id
    ORDER BY a.id FOR NO KEY UPDATE OF a;
    FOR done IN
        SELECT r AS said, r.request_id, r.key_id,
               r.input_tokens + r.output_tokens AS tokens,
               r.input_nanos + r.cached_nanos + r.output_nanos + r.reasoning_nanos
                   + r.units_nanos AS cost_nanos,
               r.source, a.id AS account_id, a.posted_nanos, a.held_nanos, a.last_sequence,
               h.state, h.amount_nanos AS hold_nanos, h.tokens_counted, h.window_started_at,
               w.started_at AS current_window
        FROM jsonb_populate_recordset(NULL::billing_settlement, batch) AS r
        JOIN billing_creditaccount a ON a.id = r.account_id
        LEFT JOIN billing_reservation h ON h.id = r.request_id AND h.account_id = a.id
        LEFT JOIN billing_ratewindow w ON w.key_id = r.key_id
        ORDER BY a.id, r.key_id, r.request_id
    LOOP
        IF done.account_id IS DISTINCT FROM current_account THEN
            current_account := done.account_id;
            posted := done.posted_nanos;
            held := done.held_nanos;
            last_sequence := done.last_sequence;
        END IF;
        IF done.key_id IS DISTINCT FROM own.key_id THEN
            settled := settled || own;
            own := (done.key_id, 0, 0, done.current_window, 0);
        END IF;

        charge := 0;
        verdict := CASE
            WHEN done.state IS NULL THEN 'unknown_reservation'
            WHEN done.request_id = current_request THEN 'already_ended'
            WHEN done.state = 'open' AND done.cost_nanos = 0 AND done.source = 'none'
                THEN 'released'
            WHEN done.state = 'open' THEN 'settled'
            WHEN done.state = 'expired' AND billing_claim_expired(done.request_id) THEN 'late'
            ELSE 'already_ended'
        END;
        current_request := done.request_id;
        IF verdict IN ('settled', 'released') THEN
            held := held - done.hold_nanos;
            own.released := own.released + done.hold_nanos;
            IF done.window_started_at = done.current_window THEN
                own.tokens := own.tokens - done.tokens_counted + done.tokens;
            END IF;
        END IF;
        IF verdict IN ('settled', 'released', 'late') THEN
            charge := least(done.cost_nanos, posted - held);
            IF charge > 0 THEN
                posted := posted - charge;
                last_sequence := last_sequence + 1;
                own.spent := own.spent + charge;
            END IF;
            overran := overran OR done.cost_nanos > least(done.hold_nanos, charge);
            ended := ended || (
                done.request_id, current_account, verdict, done.hold_nanos, done.cost_nanos,
                charge, last_sequence, posted, done.said)::billing_ended;
        END IF;

        request_id := done.request_id;
        code := verdict;
        charged_nanos := charge;
        written_off_nanos :=
            CASE WHEN verdict IN ('settled', 'late') THEN done.cost_nanos - charge ELSE 0 END;
        balance_nanos := posted;
        RETURN NEXT;
    END LOOP;
    IF ended <> '{}' THEN
        -- Assigned, not performed: PERFORM would plan and run a SELECT around each call.
        written := billing_write_ended(ended);
        written := billing_write_usage(ended);
        written := billing_write_settled_keys(settled || own);
        IF overran THEN
            PERFORM billing_write_overruns(ended);
        END IF;
    END IF;
END
$$;

-- Returns whether a settlement of an expired reservation is the first. The sweep left a usage
-- record that says `expired`; whoever removes it settles late, so that too happens once.
CREATE OR REPLACE FUNCTION billing_claim_expired(of_request uuid)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM billing_usagerecord
    WHERE request_id = of_request AND outcome = 'expired' AND NOT is_late;
    RETURN FOUND;
END
$$;

-- Ends the reservations, and writes the transfers and the balances that they leave.
CREATE OR REPLACE FUNCTION billing_write_ended(ended billing_ended[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    revenue bigint;
    open_ones integer;
BEGIN
    UPDATE billing_reservation h SET state = e.verdict, ended_at = now()
    FROM unnest(ended) AS e
    WHERE e.verdict <> 'late' AND h.id = e.request_id AND h.state = 'open';
    GET DIAGNOSTICS open_ones = ROW_COUNT;
    IF open_ones <> (SELECT count(*) FROM unnest(ended) WHERE verdict <> 'late') THEN
        RAISE EXCEPTION 'a batch would end a reservation that is not open';
    END IF;

    SELECT id INTO STRICT revenue FROM billing_creditaccount WHERE kind = 'revenue';
    INSERT INTO billing_transfer (
        kind, reference, debit_account_id, credit_account_id, amount_nanos,
        customer_id, sequence, balance_nanos, memo, created_at)
    SELECT 'usage', request_id, account_id, revenue, charge_nanos,
           account_id, sequence, balance_nanos, '', now()
    FROM unnest(ended) WHERE charge_nanos > 0;

    UPDATE billing_creditaccount a
    SET posted_nanos = a.posted_nanos - e.charge_nanos,
        held_nanos = a.held_nanos - e.hold_nanos,
        last_sequence = e.sequence
    FROM (
        SELECT account_id, sum(charge_nanos)::bigint AS charge_nanos,
               coalesce(sum(hold_nanos) FILTER (WHERE verdict <> 'late'), 0)::bigint AS hold_nanos,
               max(sequence) AS sequence
        FROM unnest(ended) GROUP BY account_id
    ) AS e
    WHERE a.id = e.account_id;
    RETURN true;
END
$$;

-- Writes the usage records.
CREATE OR REPLACE FUNCTION billing_write_usage(ended billing_ended[])
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_usagerecord (
        request_id, account_id, key_id, price_version_id, model, surface, endpoint, streamed,
        upstream, upstream_request_id, end_user,
        input_tokens, cached_tokens, output_tokens, reasoning_tokens, images, seconds, pieces,
        input_nanos, cached_nanos, output_nanos, reasoning_nanos, units_nanos,
        cost_nanos, charged_nanos, written_off_nanos, upstream_cost_nanos, reserved_nanos,
        source, outcome, is_late, status, error, finish_reason, attempts,
        latency_ms, first_token_ms, created_at)
    SELECT r.request_id, r.account_id, r.key_id, r.price_version_id, r.model,
           r.surface, r.endpoint, r.streamed,
           r.upstream, left(r.upstream_request_id, 200), left(r.end_user, 200),
           r.input_tokens, r.cached_tokens, r.output_tokens, r.reasoning_tokens,
           r.images, r.seconds, r.pieces,
           r.input_nanos, r.cached_nanos, r.output_nanos, r.reasoning_nanos, r.units_nanos,
           e.cost_nanos, e.charge_nanos, e.cost_nanos - e.charge_nanos,
           r.upstream_cost_nanos, e.hold_nanos,
           r.source, r.outcome, e.verdict = 'late', r.status, left(r.error, 500),
           left(r.finish_reason, 40), r.attempts, r.latency_ms, r.first_token_ms, now()
    FROM unnest(ended) AS e CROSS JOIN LATERAL (SELECT (e.said).*) AS r;
    RETURN true;
END
$$;

-- Books what no credit covers, and tells staff of models whose holds were no upper bound.
CREATE OR REPLACE FUNCTION billing_write_overruns(ended billing_ended[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO billing_transfer (
        kind, reference, debit_account_id, credit_account_id, amount_nanos, memo, created_at)
    SELECT 'write_off', e.request_id, w.id, r.id, e.cost_nanos - e.charge_nanos,
           'Cost that no credit covered', now()
    FROM unnest(ended) AS e
    JOIN billing_creditaccount w ON w.kind = 'write_off'
    JOIN billing_creditaccount r ON r.kind = 'revenue'
    WHERE e.cost_nanos > e.charge_nanos;

    -- One alert an hour and model: a model whose bound is wrong overruns with every request.
    INSERT INTO billing_ledgeralert (kind, reference, detail, created_at)
    SELECT CASE WHEN e.cost_nanos > e.charge_nanos THEN 'written_off' ELSE 'hold_overrun' END,
           h.model || to_char(now() AT TIME ZONE 'UTC', ' YYYY-MM-DD HH24"h"'),
           format('Request %s cost %s nanos, %s were held, %s were written off.', e.request_id,
                  e.cost_nanos, e.hold_nanos, e.cost_nanos - e.charge_nanos),
           now()
    FROM unnest(ended) AS e JOIN billing_reservation h ON h.id = e.request_id
    WHERE e.cost_nanos > least(e.hold_nanos, e.charge_nanos)
    ORDER BY 1, 2  -- one order for all: two processes that alert of the same models never deadlock
    ON CONFLICT (kind, reference) DO NOTHING;
END
$$;

-- Writes what a batch has spent and released of its keys' budgets, and corrects their minutes.
CREATE OR REPLACE FUNCTION billing_write_settled_keys(settled billing_settled_key[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    today constant date := now() AT TIME ZONE 'UTC';
    this_month constant date := date_trunc('month', today);
BEGIN
    UPDATE billing_keyspend s
    SET day = today,
        day_nanos = CASE WHEN s.day = today THEN s.day_nanos ELSE 0 END + k.spent,
        month = this_month,
        month_nanos = CASE WHEN s.month = this_month THEN s.month_nanos ELSE 0 END + k.spent,
        total_nanos = s.total_nanos + k.spent,
        held_nanos = s.held_nanos - k.released
    FROM unnest(settled) AS k
    WHERE s.key_id = k.key_id;

    UPDATE billing_ratewindow w SET tokens = greatest(0, w.tokens + k.tokens)
    FROM unnest(settled) AS k
    WHERE w.key_id = k.key_id AND w.started_at = k.window_started_at AND k.tokens <> 0;
    RETURN true;
END
$$;
