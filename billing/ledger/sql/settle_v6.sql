-- Settlement: the end of reservations, with the charge and the usage record of each request.
--
-- `batch` is a JSON array of gate.Settlement, from processes of this release or an earlier one: a
-- missing field counts as its default. Each settlement whose account exists gets one result row.
-- Locks, decides and writes as admission does.

-- The lines of the charge, which rows of an earlier release lack.
DO $$
BEGIN
    ALTER TYPE billing_settlement ADD ATTRIBUTE lines jsonb;
EXCEPTION WHEN duplicate_column THEN
    NULL;
END
$$;

-- What each upstream charges us, which rows of an earlier release lack as well.
DO $$
BEGIN
    ALTER TYPE billing_settlement ADD ATTRIBUTE cost_lines jsonb;
EXCEPTION WHEN duplicate_column THEN
    NULL;
END
$$;

-- The keyed digest of the request's body, which rows of an earlier release lack.
DO $$
BEGIN
    ALTER TYPE billing_settlement ADD ATTRIBUTE body_digest text;
EXCEPTION WHEN duplicate_column THEN
    NULL;
END
$$;

-- The client's session, which rows of an earlier release lack.
DO $$
BEGIN
    ALTER TYPE billing_settlement ADD ATTRIBUTE session_id text;
EXCEPTION WHEN duplicate_column THEN
    NULL;
END
$$;

-- The rows of budgets that the request's reservation counts in: set here, not by the process.
DO $$
BEGIN
    ALTER TYPE billing_settlement ADD ATTRIBUTE spend_ids bigint[];
EXCEPTION WHEN duplicate_column THEN
    NULL;
END
$$;

-- A request whose settlement does something: what was held, what is charged, the customer's
-- sequence and balance after it, and the row itself. `code` is `settled`, `released` or `late`.
DO $$
BEGIN
    CREATE TYPE billing_ended_request AS (
        request_id uuid, account_id bigint, code text, hold_nanos bigint, cost_nanos bigint,
        charge_nanos bigint, sequence bigint, balance_nanos bigint, settlement billing_settlement
    );
EXCEPTION WHEN duplicate_object THEN
    NULL;
END
$$;

CREATE OR REPLACE FUNCTION billing_settle(batch jsonb)
RETURNS TABLE (
    request_id uuid, code text,
    charged_nanos bigint, written_off_nanos bigint, balance_nanos bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    request record;
    ended billing_ended_request[] := '{}';
    keys billing_settled_key[] := '{}';
    current_key billing_settled_key;  -- the request's key, as the batch leaves it so far
    current_account bigint;
    ended_accounts bigint[] := '{}';  -- those with a request that the batch ends
    ended_calls bigint[] := '{}';  -- the account of each call that the batch ends
    previous_request uuid;
    posted bigint;
    held bigint;
    last_sequence bigint;
    charge bigint;
    result text;
    late_ones integer := 0;
    has_budgets boolean := false;  -- whether a request counts in budgets
    overran boolean := false;  -- whether a request cost more than its hold, or than was charged
BEGIN
    -- 1. Lock the accounts.
    PERFORM a.id FROM jsonb_to_recordset(batch) AS r(account_id bigint)
    JOIN billing_creditaccount a ON a.id = r.account_id
    ORDER BY a.id FOR NO KEY UPDATE OF a;

    -- 2. Decide request by request, each on what the ones before it left.
    FOR request IN
        SELECT r AS settlement, r.request_id, r.key_id, coalesce(r.source, 'none') AS source,
               coalesce(r.input_tokens, 0) + coalesce(r.output_tokens, 0) AS tokens,
               coalesce(r.input_nanos, 0) + coalesce(r.cached_nanos, 0)
                   + coalesce(r.output_nanos, 0) + coalesce(r.reasoning_nanos, 0)
                   + coalesce(r.units_nanos, 0) AS cost_nanos,
               a.id AS account_id, a.posted_nanos, a.held_nanos, a.last_sequence,
               h.state, h.is_call, h.amount_nanos AS hold_nanos, h.tokens_counted,
               h.spend_ids, h.window_started_at, w.started_at AS current_window
        FROM jsonb_populate_recordset(NULL::billing_settlement, batch) AS r
        JOIN billing_creditaccount a ON a.id = r.account_id
        LEFT JOIN billing_reservation h ON h.id = r.request_id AND h.account_id = a.id
        LEFT JOIN billing_ratewindow w ON w.key_id = r.key_id
        ORDER BY a.id, r.key_id, r.request_id
    LOOP
        -- 2a. Start the next account and key.
        IF request.account_id IS DISTINCT FROM current_account THEN
            current_account := request.account_id;
            posted := request.posted_nanos;
            held := request.held_nanos;
            last_sequence := request.last_sequence;
        END IF;
        IF request.key_id IS DISTINCT FROM current_key.key_id THEN
            keys := keys || current_key;
            current_key := (request.key_id, 0, 0, request.current_window, 0);
        END IF;

        -- 2b. Decide, and charge what is available once the hold is released.
        charge := 0;
        result := CASE
            WHEN request.state IS NULL THEN 'unknown_reservation'
            WHEN request.request_id = previous_request THEN 'already_ended'
            WHEN request.state = 'open' AND request.cost_nanos = 0 AND request.source = 'none'
                THEN 'released'
            WHEN request.state = 'open' THEN 'settled'
            WHEN request.state = 'expired' AND billing_claim_expired(request.request_id) THEN 'late'
            ELSE 'already_ended'
        END;
        previous_request := request.request_id;
        IF result IN ('settled', 'released') THEN
            held := held - request.hold_nanos;
            current_key.released := current_key.released + request.hold_nanos;
            IF request.is_call THEN
                ended_calls := ended_calls || current_account;
            END IF;
            IF request.window_started_at = request.current_window THEN
                current_key.tokens := current_key.tokens - request.tokens_counted + request.tokens;
            ELSE
                -- Tokens beyond those counted so far count in the minute that reports them.
                current_key.tokens :=
                    current_key.tokens + greatest(0, request.tokens - request.tokens_counted);
            END IF;
        END IF;
        IF result IN ('settled', 'released', 'late') THEN
            charge := least(request.cost_nanos, posted - held);
            IF charge > 0 THEN
                posted := posted - charge;
                last_sequence := last_sequence + 1;
                current_key.spent := current_key.spent + charge;
            END IF;
            late_ones := late_ones + (result = 'late')::integer;
            IF current_account IS DISTINCT FROM ended_accounts[1] THEN
                ended_accounts := current_account || ended_accounts;
            END IF;
            overran := overran OR request.cost_nanos > least(request.hold_nanos, charge);
            IF request.spend_ids IS NOT NULL THEN
                has_budgets := true;
                request.settlement := jsonb_populate_record(
                    request.settlement, jsonb_build_object('spend_ids', request.spend_ids));
            END IF;
            ended := ended || (
                request.request_id, current_account, result, request.hold_nanos,
                request.cost_nanos, charge, last_sequence, posted,
                request.settlement)::billing_ended_request;
        END IF;

        -- 2c. Answer.
        request_id := request.request_id;
        code := result;
        charged_nanos := charge;
        written_off_nanos :=
            CASE WHEN result IN ('settled', 'late') THEN request.cost_nanos - charge ELSE 0 END;
        balance_nanos := posted;
        RETURN NEXT;
    END LOOP;

    -- 3. Write what was decided, once for each table: all of it, or nothing.
    -- (A call in an IF is an expression; PERFORM would plan and run a SELECT around it.)
    IF ended <> '{}' THEN
        IF billing_end_reservations(ended) <> cardinality(ended) - late_ones THEN
            RAISE EXCEPTION 'a batch would end a reservation that is not open';
        ELSIF billing_charge_accounts(ended, ended_calls) <> cardinality(ended_accounts) THEN
            RAISE EXCEPTION 'a batch would charge an account that does not exist';
        ELSIF billing_write_usage(ended) <> cardinality(ended) THEN
            RAISE EXCEPTION 'a batch would end a request without a usage record';
        ELSIF NOT billing_write_settled_keys(keys || current_key) THEN
            RAISE EXCEPTION 'a batch would not count what its keys spend';
        ELSIF has_budgets AND NOT billing_spend_budgets(ended) THEN
            RAISE EXCEPTION 'a batch would not count what it spends of budgets';
        ELSIF overran AND NOT billing_write_overruns(ended) THEN
            RAISE EXCEPTION 'a batch would leave a cost unbooked';
        END IF;
    END IF;
END
$$;

-- Tell whether a settlement of an expired reservation is the first. The sweep left a usage record
-- that says `expired`; the settlement that removes it is late, so this happens only once.
CREATE OR REPLACE FUNCTION billing_claim_expired(of_request uuid)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM billing_usagerecord
    WHERE request_id = of_request AND outcome = 'expired' AND NOT is_late;
    RETURN FOUND;
END
$$;

-- End the reservations that are open, and return how many.
CREATE OR REPLACE FUNCTION billing_end_reservations(ended billing_ended_request[])
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    UPDATE billing_reservation h SET state = e.code, ended_at = now()
    FROM unnest(ended) AS e
    WHERE e.code <> 'late' AND h.id = e.request_id AND h.state = 'open';
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Write the transfers, the balances that they leave and the number of calls still open. Return how
-- many accounts changed.
CREATE OR REPLACE FUNCTION billing_charge_accounts(
    ended billing_ended_request[], ended_calls bigint[])
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    revenue bigint;
    written integer;
BEGIN
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
        last_sequence = e.sequence,
        open_calls = a.open_calls - cardinality(array_positions(ended_calls, a.id))
    FROM (
        SELECT account_id, sum(charge_nanos)::bigint AS charge_nanos,
               coalesce(sum(hold_nanos) FILTER (WHERE code <> 'late'), 0)::bigint AS hold_nanos,
               max(sequence) AS sequence
        FROM unnest(ended) GROUP BY account_id
    ) AS e
    WHERE a.id = e.account_id;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Write the usage records, and return how many. A record says which request it is the retry of: the
-- key's latest with the same body that did not complete, and ended in the five minutes before this
-- one came. The digest is kept of those alone.
CREATE OR REPLACE FUNCTION billing_write_usage(ended billing_ended_request[])
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    INSERT INTO billing_usagerecord (
        request_id, account_id, key_id, price_version_id, model, surface, endpoint, streamed,
        upstream, upstream_request_id, end_user,
        input_tokens, cached_tokens, output_tokens, reasoning_tokens, images, seconds, pieces,
        input_nanos, cached_nanos, output_nanos, reasoning_nanos, units_nanos,
        cost_nanos, charged_nanos, written_off_nanos, upstream_cost_nanos, reserved_nanos,
        source, outcome, is_late, status, error, finish_reason, attempts,
        latency_ms, first_token_ms, lines, cost_lines, body_digest, retry_of, session_id,
        spend_ids, created_at)
    SELECT r.request_id, r.account_id, r.key_id, r.price_version_id, r.model,
           coalesce(r.surface, ''), coalesce(r.endpoint, ''), coalesce(r.streamed, false),
           coalesce(r.upstream, ''), coalesce(left(r.upstream_request_id, 200), ''),
           coalesce(left(r.end_user, 200), ''),
           coalesce(r.input_tokens, 0), coalesce(r.cached_tokens, 0),
           coalesce(r.output_tokens, 0), coalesce(r.reasoning_tokens, 0),
           coalesce(r.images, 0), coalesce(r.seconds, 0), coalesce(r.pieces, 0),
           coalesce(r.input_nanos, 0), coalesce(r.cached_nanos, 0), coalesce(r.output_nanos, 0),
           coalesce(r.reasoning_nanos, 0), coalesce(r.units_nanos, 0),
           e.cost_nanos, e.charge_nanos, e.cost_nanos - e.charge_nanos,
           coalesce(r.upstream_cost_nanos, 0), e.hold_nanos,
           coalesce(r.source, 'none'), r.outcome, e.code = 'late', coalesce(r.status, 0),
           coalesce(left(r.error, 500), ''), coalesce(left(r.finish_reason, 40), ''),
           coalesce(r.attempts, '[]'), coalesce(r.latency_ms, 0), r.first_token_ms,
           coalesce(r.lines, '[]'), coalesce(r.cost_lines, '[]'),
           CASE WHEN r.outcome = 'completed' THEN ''
                ELSE coalesce(left(r.body_digest, 32), '') END,
           (
               SELECT failed.request_id FROM billing_usagerecord failed
               WHERE failed.body_digest <> '' AND failed.key_id = r.key_id
                   AND failed.body_digest = r.body_digest
                   AND failed.created_at
                       BETWEEN now() - coalesce(r.latency_ms, 0) * interval '1 millisecond'
                               - interval '5 minutes'
                       AND now() - coalesce(r.latency_ms, 0) * interval '1 millisecond'
               ORDER BY failed.created_at DESC LIMIT 1
           ),
           coalesce(left(r.session_id, 128), ''),
           r.spend_ids, now()
    FROM unnest(ended) AS e CROSS JOIN LATERAL (SELECT (e.settlement).*) AS r;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Book what no credit covers, and alert staff to models whose holds were not an upper bound: once
-- per hour and model, since a model whose bound is wrong overruns with every request. Return
-- whether every uncovered cost is booked.
CREATE OR REPLACE FUNCTION billing_write_overruns(ended billing_ended_request[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    INSERT INTO billing_transfer (
        kind, reference, debit_account_id, credit_account_id, amount_nanos, memo, created_at)
    SELECT 'write_off', e.request_id, w.id, r.id, e.cost_nanos - e.charge_nanos,
           'Cost that no credit covered', now()
    FROM unnest(ended) AS e
    JOIN billing_creditaccount w ON w.kind = 'write_off'
    JOIN billing_creditaccount r ON r.kind = 'revenue'
    WHERE e.cost_nanos > e.charge_nanos;
    GET DIAGNOSTICS written = ROW_COUNT;

    INSERT INTO billing_ledgeralert (kind, reference, detail, created_at)
    SELECT CASE WHEN e.cost_nanos > e.charge_nanos THEN 'written_off' ELSE 'hold_overrun' END,
           h.model || to_char(now() AT TIME ZONE 'UTC', ' YYYY-MM-DD HH24"h"'),
           format('Request %s cost %s nanos, %s were held, %s were written off.', e.request_id,
                  e.cost_nanos, e.hold_nanos, e.cost_nanos - e.charge_nanos),
           now()
    FROM unnest(ended) AS e JOIN billing_reservation h ON h.id = e.request_id
    WHERE e.cost_nanos > least(e.hold_nanos, e.charge_nanos)
    ORDER BY 1, 2  -- one order for all: processes that raise the same alerts never deadlock
    ON CONFLICT (kind, reference) DO NOTHING;
    RETURN written = (SELECT count(*) FROM unnest(ended) WHERE cost_nanos > charge_nanos);
END
$$;

-- Write what a batch has spent and released of its keys' budgets, and correct their minutes.
-- (A key whose row is gone was deleted: its requests are settled all the same.)
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

-- Write what a batch has spent and released of the budgets that its requests count in, and record
-- a warning for each threshold that a rule's row has reached. Return whether every row was found.
CREATE OR REPLACE FUNCTION billing_spend_budgets(ended billing_ended_request[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    expected integer;
    written integer;
BEGIN
    WITH spent AS MATERIALIZED (
        SELECT u.spend_id, sum(e.charge_nanos)::bigint AS charge_nanos,
               coalesce(sum(e.hold_nanos) FILTER (WHERE e.code <> 'late'), 0)::bigint AS hold_nanos
        FROM unnest(ended) AS e
        CROSS JOIN LATERAL unnest((e.settlement).spend_ids) AS u(spend_id)
        GROUP BY u.spend_id
    ), updated AS (
        UPDATE billing_budgetspend s
        SET spent_nanos = s.spent_nanos + e.charge_nanos, held_nanos = s.held_nanos - e.hold_nanos,
            warned_percent = greatest(s.warned_percent, billing_reached_percent(
                s.spent_nanos + e.charge_nanos, s.limit_nanos))
        FROM spent e
        JOIN billing_budgetspend before ON before.id = e.spend_id
        WHERE s.id = e.spend_id
        RETURNING s.id, s.account_id, s.series_id, s.spent_nanos, s.limit_nanos, s.warned_percent,
                  before.warned_percent AS warned_before
    ), warned AS (
        INSERT INTO billing_budgetwarning (
            spend_id, percent, spent_nanos, limit_nanos, created_at)
        SELECT id, warned_percent, spent_nanos, limit_nanos, now() FROM updated
        WHERE warned_percent > warned_before AND series_id > 0
    )
    SELECT (SELECT count(*) FROM spent), (SELECT count(*) FROM updated) INTO expected, written;
    RETURN written = expected;
END
$$;
