-- Extension: holds that grow while their answers are streamed.
--
-- `batch` is a JSON array of gate.Extension. `amount_nanos` is what the whole hold is to be, not
-- what is added: a repeat changes nothing. `minimum_nanos` is the least whole hold with which the
-- answer can go on, and `tokens` are those to be counted against tokens per minute, which no
-- extension is refused for. Each request whose account exists gets one result row:
--
--   extended            the hold is `amount_nanos`, at least the minimum
--   budget_exceeded     the key's budget leaves less than the minimum, and less than the balance
--   insufficient_quota  the balance leaves less than the minimum
--   ended               there is no open reservation: it was settled or has expired
--
-- Locks, decides and writes as admission does.

CREATE OR REPLACE FUNCTION billing_extend(batch jsonb)
RETURNS TABLE (request_id uuid, code text, amount_nanos bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    today constant date := now() AT TIME ZONE 'UTC';
    this_month constant date := date_trunc('month', today);
    request record;
    current_account bigint;
    available bigint;      -- of the account: posted less held, less what this batch adds
    account_adds bigint := 0;  -- what this batch adds to the account's holds
    current_key bigint;
    budget_left bigint;    -- of the key; null without a budget
    last_request uuid;     -- the last request and its hold now: a repeat within the batch
    last_held bigint;      -- follows it directly
    added bigint;
    accounts billing_admitted_account[] := '{}';
    longer uuid[] := '{}';  -- the requests whose holds grow, their keys, and by how much
    longer_keys bigint[] := '{}';
    longer_by bigint[] := '{}';
    going_on uuid[] := '{}';  -- the requests that may go on, whose tokens are counted
BEGIN
    -- 1. Lock the accounts.
    PERFORM a.id FROM jsonb_to_recordset(batch) AS r(account_id bigint)
    JOIN billing_creditaccount a ON a.id = r.account_id
    ORDER BY a.id FOR NO KEY UPDATE OF a;

    -- 2. Decide request by request, each on what the ones before it left.
    FOR request IN
        SELECT r.request_id, coalesce(r.amount_nanos, 0) AS wanted_nanos,
               coalesce(r.minimum_nanos, 0) AS least_nanos,
               a.id AS account_id, a.posted_nanos - a.held_nanos AS available_nanos,
               h.key_id, h.amount_nanos AS held_nanos,
               least(k.budget_day_nanos - CASE WHEN s.day = today THEN s.day_nanos ELSE 0 END,
                     k.budget_month_nanos - CASE WHEN s.month = this_month THEN s.month_nanos
                                                 ELSE 0 END,
                     k.budget_total_nanos - coalesce(s.total_nanos, 0))
                   - coalesce(s.held_nanos, 0) AS budget_left
        FROM jsonb_to_recordset(batch) AS r(
                 request_id uuid, account_id bigint, amount_nanos bigint, minimum_nanos bigint)
        JOIN billing_creditaccount a ON a.id = r.account_id
        LEFT JOIN billing_reservation h
               ON h.id = r.request_id AND h.account_id = a.id AND h.state = 'open'
        LEFT JOIN accounts_apikey k ON k.id = h.key_id
        LEFT JOIN billing_keyspend s ON s.key_id = h.key_id
        ORDER BY a.id, h.key_id, r.request_id, wanted_nanos
    LOOP
        -- 2a. Start the next account and key.
        IF request.account_id IS DISTINCT FROM current_account THEN
            IF account_adds > 0 THEN
                accounts := accounts || (current_account, account_adds, 0)::billing_admitted_account;
            END IF;
            current_account := request.account_id;
            available := request.available_nanos;
            account_adds := 0;
        END IF;
        IF request.key_id IS DISTINCT FROM current_key THEN
            current_key := request.key_id;
            budget_left := request.budget_left;
        END IF;
        IF request.request_id = last_request THEN
            request.held_nanos := last_held;
        END IF;

        -- 2b. Decide: the hold is never lowered, and grows as far as balance and budget allow.
        added := greatest(0, least(
            request.wanted_nanos - request.held_nanos, available, budget_left));
        request_id := request.request_id;
        code := CASE
            WHEN request.key_id IS NULL THEN 'ended'
            WHEN request.held_nanos + added >= request.least_nanos THEN 'extended'
            WHEN budget_left < available THEN 'budget_exceeded'
            ELSE 'insufficient_quota'
        END;
        IF code = 'extended' THEN
            going_on := going_on || request.request_id;
            IF added > 0 THEN
                longer := longer || request.request_id;
                longer_keys := longer_keys || current_key;
                longer_by := longer_by || added;
                account_adds := account_adds + added;
                available := available - added;
                budget_left := budget_left - added;
            END IF;
        ELSE
            added := 0;
        END IF;

        -- 2c. Answer.
        amount_nanos := coalesce(request.held_nanos, 0) + added;
        last_request := request.request_id;
        last_held := amount_nanos;
        RETURN NEXT;
    END LOOP;

    -- 3. Write what was decided, once for each table: all of it, or nothing.
    IF account_adds > 0 THEN
        accounts := accounts || (current_account, account_adds, 0)::billing_admitted_account;
    END IF;
    IF longer <> '{}' THEN
        IF billing_raise_reservations(longer, longer_by)
           <> (SELECT count(DISTINCT each) FROM unnest(longer) AS each) THEN
            RAISE EXCEPTION 'a batch would extend a reservation that is not open';
        ELSIF billing_hold_credits(accounts) <> cardinality(accounts) THEN
            RAISE EXCEPTION 'a batch would hold more than is available';
        ELSIF NOT billing_hold_budgets(longer_keys, longer_by) THEN
            RAISE EXCEPTION 'a batch would not hold what its keys spend';
        END IF;
    END IF;
    IF going_on <> '{}' AND batch @? '$[*].tokens ? (@ > 0)' THEN
        PERFORM billing_count_growth((
            SELECT jsonb_agg(each) FROM jsonb_array_elements(batch) AS each
            WHERE (each ->> 'request_id')::uuid = ANY (going_on)));
    END IF;
END
$$;

-- Raise what open reservations hold, and return how many.
CREATE OR REPLACE FUNCTION billing_raise_reservations(longer uuid[], longer_by bigint[])
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    UPDATE billing_reservation h SET amount_nanos = h.amount_nanos + e.added
    FROM (
        SELECT request_id, sum(added)::bigint AS added
        FROM unnest(longer, longer_by) AS u(request_id, added) GROUP BY request_id
    ) AS e
    WHERE h.id = e.request_id AND h.state = 'open';
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Hold in the keys' budgets what a batch adds to their holds.
-- (A key whose row is gone was deleted: its requests go on all the same.)
CREATE OR REPLACE FUNCTION billing_hold_budgets(longer_keys bigint[], longer_by bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    UPDATE billing_keyspend s SET held_nanos = s.held_nanos + e.added
    FROM (
        SELECT key_id, sum(added)::bigint AS added
        FROM unnest(longer_keys, longer_by) AS u(key_id, added) GROUP BY key_id
    ) AS e
    WHERE s.key_id = e.key_id;
    RETURN true;
END
$$;
