-- Admission: key, limits, budget and reservation for all requests that wait together.
--
-- `batch` is a JSON array of gate.Admission, from processes of this release or an earlier one: a
-- missing field counts as its default. Each request with a valid key gets one result row, any other
-- none. No request's values make this function raise, so none can fail its neighbours.
--
-- Every function that writes money first locks the accounts' rows, in the order of their ids. The
-- lock guards everything that belongs to an account (its keys' windows and spend too): processes
-- never deadlock, and what is read after it holds until commit. Requests are decided one after the
-- other; their sums are written once for each account and key.
--
-- A request for a model with its own limit counts against two limits in the key's minute: the
-- key's, and the model's for this key. The result reports the one with less left.
--
-- Budgets of teams, members, keys, sessions and end users (`budgets_v1.sql`) are counted in rows of
-- `billing_budgetspend`, which the account's lock guards as well. A reservation names the rows that
-- it counts in. Where an account has no budgets, nothing is looked up.
--
-- A team's concurrent calls are counted in its account's row, which each admission and each end of
-- a reservation writes anyway. A reservation `is_call` if it was counted; jobs are not.

-- An admitted request, with what is held for it and the budgets' rows that it counts in.
DO $$
BEGIN
    CREATE TYPE billing_granted_request AS (
        request_id uuid, account_id bigint, key_id bigint, price_version_id bigint,
        amount_nanos bigint, model text, surface text, tokens bigint,
        window_started_at timestamptz, hold_seconds double precision,
        lease_id integer, is_call boolean, spend_ids bigint[]
    );
EXCEPTION WHEN duplicate_object THEN
    NULL;
END
$$;

-- An account with what a batch of admissions holds of it, and how many calls the batch starts.
DO $$
BEGIN
    CREATE TYPE billing_admitted_account AS (
        account_id bigint, amount_nanos bigint, calls integer
    );
EXCEPTION WHEN duplicate_object THEN
    NULL;
END
$$;

CREATE OR REPLACE FUNCTION billing_admit(batch jsonb)
RETURNS SETOF billing_verdict LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    minute constant interval := '1 minute';
    today constant date := now() AT TIME ZONE 'UTC';
    this_month constant date := date_trunc('month', today);
    request record;
    result billing_verdict;
    admitted billing_granted_request[] := '{}';
    accounts billing_admitted_account[] := '{}';
    keys billing_touched_key[] := '{}';
    current_account bigint;
    available bigint;         -- of the account: posted less held, less what this batch admitted
    account_holds bigint;     -- what this batch holds of the account; null where it admits nothing
    open_calls integer;       -- of the account, including those that this batch starts
    new_calls integer;        -- those that this batch starts
    current_key bigint;
    budget_left bigint;       -- of the key; null without a budget
    key_holds bigint;         -- as account_holds
    window_started_at timestamptz;  -- the key's minute, and what is counted in it
    reset_at bigint;
    requests bigint;
    tokens bigint;
    by_model jsonb;
    model_requests bigint;    -- for a model with its own limit
    left_of_key bigint;
    left_of_model bigint;     -- null for a model without its own limit
    granted bigint;
    counted_tokens bigint;    -- of the request: what it asks for, or less if less is left
    has_budgets boolean;      -- whether a request of the batch may have some
    budgets billing_request_budgets[];   -- by the request's place in the batch
    mine billing_request_budgets;
    spend_left bigint;        -- of the request's budgets; null without a hard one
    spend_ids bigint[] := '{}';     -- the budgets' rows in which the batch holds something,
    spend_holds bigint[] := '{}';   -- how much, and the largest limit that let it: null if a
                                    -- request among them is only warned
    spend_limits bigint[] := '{}';
    place integer;
    free_windows jsonb;       -- the minutes of free models' users; null if the batch has none
    last_request uuid;        -- the last admitted request and what it was granted: a repeat
    last_granted bigint;      -- within the batch follows it directly
    decision text;
    retry_after bigint;
BEGIN
    -- 1. Lock the accounts.
    SELECT bool_or(locked.has_budgets OR locked.session_budget_nanos IS NOT NULL) INTO has_budgets
    FROM (
        SELECT a.has_budgets, r.session_budget_nanos
        FROM jsonb_to_recordset(batch) AS r(digests text[], session_budget_nanos bigint)
        CROSS JOIN LATERAL unnest(r.digests) AS d(digest)
        JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
        JOIN billing_creditaccount a ON a.team_id = k.team_id
        ORDER BY a.id FOR NO KEY UPDATE OF a
    ) AS locked;

    -- 1a. Lock the minutes of free models.
    IF batch @? '$[*].free_address ? (@ != null)' THEN
        free_windows := billing_lock_free_windows(batch);
    END IF;

    -- 1b. Read the budgets.
    IF has_budgets THEN
        budgets := billing_budgets_of(batch);
    END IF;

    -- 2. Decide request by request, each on what the ones before it left.
    FOR request IN
        SELECT r.*, coalesce(r.minimum_nanos, r.amount_nanos) AS least_nanos,
               coalesce(r.tokens, 0) AS new_tokens,
               coalesce(r.minimum_tokens, r.tokens, 0) AS least_tokens,
               NOT coalesce(r.is_job, false) AS is_call,
               k.id AS key_id, k.team_id, k.scope, k.allowed_models, t.suspended_at,
               a.id AS account_id, a.posted_nanos - a.held_nanos AS available_nanos,
               a.open_calls AS open_calls_before,
               coalesce(t.concurrent_requests, p.concurrent_requests) AS calls_limit,
               coalesce(k.requests_per_minute, p.requests_per_minute) AS requests_limit,
               coalesce(k.tokens_per_minute, p.tokens_per_minute) AS tokens_limit,
               w.started_at, w.requests, w.tokens AS window_tokens, w.model_requests AS by_model,
               least(k.budget_day_nanos - CASE WHEN s.day = today THEN s.day_nanos ELSE 0 END,
                     k.budget_month_nanos - CASE WHEN s.month = this_month THEN s.month_nanos
                                                 ELSE 0 END,
                     k.budget_total_nanos - coalesce(s.total_nanos, 0))
                   - coalesce(s.held_nanos, 0) AS budget_left,
               existing.amount_nanos AS held_before, v.version AS catalogue_now
        FROM ROWS FROM (jsonb_to_recordset(batch) AS (
                 request_id uuid, digests text[], model text, surface text,
                 price_version_id bigint, amount_nanos bigint, minimum_nanos bigint,
                 tokens bigint, hold_seconds double precision, catalogue_version bigint,
                 model_requests_per_minute bigint, lease_id integer, is_job boolean,
                 minimum_tokens bigint, free_address text, free_requests_per_minute bigint,
                 free_tokens_per_minute bigint))
             WITH ORDINALITY AS r(
                 request_id, digests, model, surface, price_version_id, amount_nanos,
                 minimum_nanos, tokens, hold_seconds, catalogue_version,
                 model_requests_per_minute, lease_id, is_job, minimum_tokens, free_address,
                 free_requests_per_minute, free_tokens_per_minute, place)
        CROSS JOIN billing_catalogueversion v
        CROSS JOIN LATERAL unnest(r.digests) AS d(digest)
        JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
        JOIN accounts_team t ON t.id = k.team_id
        JOIN accounts_plan p ON p.id = t.plan_id
        JOIN billing_creditaccount a ON a.team_id = k.team_id
        LEFT JOIN billing_ratewindow w ON w.key_id = k.id AND w.started_at > now() - minute
        LEFT JOIN billing_keyspend s ON s.key_id = k.id
        LEFT JOIN billing_reservation existing
               ON existing.id = r.request_id AND existing.key_id = k.id
        WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
        ORDER BY a.id, k.id, r.request_id
    LOOP
        -- 2a. Start the next key and account.
        IF request.key_id IS DISTINCT FROM current_key THEN
            IF key_holds IS NOT NULL THEN
                keys := keys || (current_key, window_started_at, requests, tokens, by_model,
                                 key_holds)::billing_touched_key;
            END IF;
            current_key := request.key_id;
            budget_left := request.budget_left;
            key_holds := NULL;
            window_started_at := coalesce(request.started_at, now());
            reset_at := ceil(extract(epoch FROM window_started_at + minute));
            requests := coalesce(request.requests, 0);
            tokens := coalesce(request.window_tokens, 0);
            by_model := coalesce(request.by_model, '{}');
        END IF;
        IF request.account_id IS DISTINCT FROM current_account THEN
            IF account_holds IS NOT NULL THEN
                accounts := accounts
                    || (current_account, account_holds, new_calls)::billing_admitted_account;
            END IF;
            current_account := request.account_id;
            available := request.available_nanos;
            account_holds := NULL;
            open_calls := request.open_calls_before;
            new_calls := 0;
        END IF;

        -- 2b. Find what the request's budgets leave, less what the ones before it were granted.
        spend_left := NULL;
        IF has_budgets THEN
            mine := budgets[request.place];
            FOR i IN 1 .. coalesce(cardinality(mine.spend_ids), 0) LOOP
                spend_left := least(
                    spend_left, mine.limits[i] - mine.used[i]
                        - coalesce(spend_holds[array_position(spend_ids, mine.spend_ids[i])], 0));
            END LOOP;
        END IF;

        -- 2c. Decide: the first reason that applies.
        IF request.request_id = last_request THEN
            request.held_before := last_granted;
        END IF;
        left_of_key := request.requests_limit - requests;
        left_of_model := NULL;
        IF request.model_requests_per_minute IS NOT NULL THEN
            model_requests := coalesce((by_model ->> request.model)::bigint, 0);
            left_of_model := request.model_requests_per_minute - model_requests;
        END IF;
        granted := greatest(0, least(
            request.amount_nanos, available, budget_left, spend_left));
        decision := CASE
            WHEN request.held_before IS NOT NULL THEN 'admitted'
            WHEN request.scope <> 'inference' THEN 'wrong_scope'
            WHEN request.suspended_at IS NOT NULL THEN 'team_suspended'
            WHEN request.catalogue_version <> request.catalogue_now THEN 'stale_catalogue'
            WHEN cardinality(request.allowed_models) > 0
                 AND request.model <> ALL (request.allowed_models) THEN 'model_not_allowed'
            WHEN request.is_call AND open_calls >= request.calls_limit THEN 'too_many_calls'
            WHEN least(left_of_key, left_of_model) <= 0 THEN 'rate_limited_requests'
            WHEN tokens + request.least_tokens > request.tokens_limit THEN 'rate_limited_tokens'
            WHEN request.free_address IS NOT NULL AND billing_free_is_used_up(
                free_windows, request.team_id, request.free_address, request.least_tokens,
                request.free_requests_per_minute, request.free_tokens_per_minute)
                THEN 'rate_limited_free'
            WHEN granted < request.least_nanos AND least(budget_left, spend_left) < available
                THEN 'budget_exceeded'
            WHEN granted < request.least_nanos THEN 'insufficient_quota'
            ELSE 'admitted'
        END;

        -- 2d. Count what was decided.
        retry_after := 0;
        IF request.held_before IS NOT NULL THEN
            granted := request.held_before;  -- a repeat of a batch whose commit was uncertain
        ELSIF decision = 'admitted' THEN
            counted_tokens := least(request.new_tokens, greatest(
                request.least_tokens, request.tokens_limit - tokens));
            admitted := admitted || (
                request.request_id, current_account, current_key, request.price_version_id, granted,
                request.model, request.surface, counted_tokens, window_started_at,
                request.hold_seconds, request.lease_id, request.is_call, mine.spend_ids
                )::billing_granted_request;
            last_request := request.request_id;
            last_granted := granted;
            available := available - granted;
            account_holds := coalesce(account_holds, 0) + granted;
            open_calls := open_calls + request.is_call::integer;
            new_calls := new_calls + request.is_call::integer;
            budget_left := budget_left - granted;
            spend_left := spend_left - granted;
            key_holds := coalesce(key_holds, 0) + granted;
            requests := requests + 1;
            tokens := tokens + counted_tokens;
            IF request.free_address IS NOT NULL THEN
                free_windows := billing_count_free(
                    free_windows, request.team_id, request.free_address, counted_tokens);
            END IF;
            left_of_key := left_of_key - 1;
            IF left_of_model IS NOT NULL THEN
                left_of_model := left_of_model - 1;
                by_model := by_model || jsonb_build_object(request.model, model_requests + 1);
            END IF;
        ELSE
            granted := 0;
            IF decision = 'rate_limited_free' THEN
                retry_after := billing_free_retry_after(
                    free_windows, request.team_id, request.free_address);
            ELSIF decision LIKE 'rate\_limited%' THEN
                retry_after := greatest(
                    1, ceil(extract(epoch FROM window_started_at + minute - now())));
            ELSIF decision = 'too_many_calls' THEN
                retry_after := 1;  -- a call may end at any moment
            END IF;
        END IF;

        -- 2e. Count what it holds of its budgets.
        IF has_budgets AND decision = 'admitted' AND request.held_before IS NULL THEN
            FOR i IN 1 .. coalesce(cardinality(mine.spend_ids), 0) LOOP
                place := array_position(spend_ids, mine.spend_ids[i]);
                IF place IS NULL THEN
                    spend_ids := spend_ids || mine.spend_ids[i];
                    spend_holds := spend_holds || granted;
                    spend_limits := spend_limits || mine.limits[i];
                ELSE
                    spend_holds[place] := spend_holds[place] + granted;
                    spend_limits[place] := CASE
                        WHEN mine.limits[i] IS NULL OR spend_limits[place] IS NULL THEN NULL
                        ELSE greatest(spend_limits[place], mine.limits[i]) END;
                END IF;
            END LOOP;
        END IF;

        -- 2f. Answer.
        result := (
            request.request_id, decision, request.catalogue_now, current_key, current_account,
            request.team_id, granted, least(available, budget_left, spend_left),
            CASE WHEN left_of_model < left_of_key
                 THEN request.model_requests_per_minute ELSE request.requests_limit END,
            greatest(0, least(left_of_key, left_of_model)),
            request.tokens_limit, greatest(0, request.tokens_limit - tokens),
            reset_at, retry_after);
        RETURN NEXT result;
    END LOOP;

    -- 3. Write what was decided, once for each table: all of it, or nothing.
    -- (A call in an IF is an expression; PERFORM would plan and run a SELECT around it.)
    IF admitted <> '{}' THEN
        IF account_holds IS NOT NULL THEN
            accounts := accounts
                || (current_account, account_holds, new_calls)::billing_admitted_account;
        END IF;
        IF key_holds IS NOT NULL THEN
            keys := keys || (current_key, window_started_at, requests, tokens, by_model,
                             key_holds)::billing_touched_key;
        END IF;
        IF billing_write_reservations(admitted) <> cardinality(admitted) THEN
            RAISE EXCEPTION 'a batch would admit a request without a reservation';
        ELSIF billing_hold_credits(accounts) <> cardinality(accounts) THEN
            RAISE EXCEPTION 'a batch would hold more than is available';
        ELSIF billing_count_requests(keys) <> cardinality(keys) THEN
            RAISE EXCEPTION 'a batch would not count what its keys hold';
        ELSIF spend_ids <> '{}' AND NOT billing_hold_spends(
            spend_ids, spend_holds, spend_limits) THEN
            RAISE EXCEPTION 'a batch would hold more than a budget leaves';
        ELSIF free_windows IS NOT NULL AND NOT billing_write_free_windows(free_windows) THEN
            RAISE EXCEPTION 'a batch would not count its free requests';
        END IF;
    END IF;
END
$$;

-- Write the reservations, and return how many.
CREATE OR REPLACE FUNCTION billing_write_reservations(admitted billing_granted_request[])
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    INSERT INTO billing_reservation (
        id, account_id, key_id, price_version_id, amount_nanos, model, surface,
        tokens_counted, window_started_at, state, created_at, expires_at, lease_id, is_call,
        spend_ids)
    SELECT request_id, account_id, key_id, price_version_id, amount_nanos, model, surface,
           tokens, window_started_at, 'open', now(), now() + make_interval(secs => hold_seconds),
           lease_id, is_call, spend_ids
    FROM unnest(admitted);
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Hold the reservations' sums where they are available, count the calls, and return the number of
-- accounts changed.
CREATE OR REPLACE FUNCTION billing_hold_credits(accounts billing_admitted_account[])
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    UPDATE billing_creditaccount a
    SET held_nanos = a.held_nanos + h.amount_nanos, open_calls = a.open_calls + h.calls
    FROM unnest(accounts) AS h
    WHERE a.id = h.account_id AND a.posted_nanos - a.held_nanos >= h.amount_nanos;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- Write what a batch counts against its keys' minutes and budgets, and return the number of keys.
CREATE OR REPLACE FUNCTION billing_count_requests(touched billing_touched_key[])
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    today constant date := now() AT TIME ZONE 'UTC';
    written integer;
BEGIN
    INSERT INTO billing_ratewindow (key_id, started_at, requests, tokens, model_requests)
    SELECT key_id, started_at, requests, tokens, model_requests FROM unnest(touched)
    ON CONFLICT (key_id) DO UPDATE
    SET started_at = excluded.started_at, requests = excluded.requests, tokens = excluded.tokens,
        model_requests = excluded.model_requests;

    INSERT INTO billing_keyspend AS s
        (key_id, day, day_nanos, month, month_nanos, total_nanos, held_nanos, last_used_at)
    SELECT key_id, today, 0, date_trunc('month', today), 0, 0, holds, now()
    FROM unnest(touched)
    ON CONFLICT (key_id) DO UPDATE
    SET held_nanos = s.held_nanos + excluded.held_nanos, last_used_at = excluded.last_used_at;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written;
END
$$;

-- The minutes of free models, whose use no balance limits: one for each team, across its keys, and
-- one for each client address, across teams. In a batch they are an object of
-- [requests, tokens, seconds left] by subject.

-- Lock the minutes of a batch's free requests, after the accounts' rows and in the order of their
-- subjects, restart those that are over, and return them.
CREATE OR REPLACE FUNCTION billing_lock_free_windows(batch jsonb)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    minute constant interval := '1 minute';
    subjects text[];
BEGIN
    SELECT array_agg(DISTINCT s.subject) INTO subjects
    FROM jsonb_to_recordset(batch) AS r(digests text[], free_address text)
    CROSS JOIN LATERAL unnest(r.digests) AS d(digest)
    JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
    CROSS JOIN LATERAL (
        VALUES ('team ' || k.team_id), ('address ' || r.free_address)) AS s(subject)
    WHERE r.free_address IS NOT NULL;

    INSERT INTO billing_freewindow (subject, started_at, requests, tokens)
    SELECT s.subject, now(), 0, 0 FROM unnest(subjects) AS s(subject) ORDER BY s.subject
    ON CONFLICT DO NOTHING;
    PERFORM w.subject FROM billing_freewindow w
    WHERE w.subject = ANY (subjects) ORDER BY w.subject FOR NO KEY UPDATE;
    UPDATE billing_freewindow w SET started_at = now(), requests = 0, tokens = 0
    WHERE w.subject = ANY (subjects) AND w.started_at <= now() - minute;
    RETURN (
        SELECT jsonb_object_agg(w.subject, jsonb_build_array(
            w.requests, w.tokens,
            greatest(1, ceil(extract(epoch FROM w.started_at + minute - now())))))
        FROM billing_freewindow w WHERE w.subject = ANY (subjects));
END
$$;

-- Tell whether the minute of the team, or of the address, has no room for a free request.
CREATE OR REPLACE FUNCTION billing_free_is_used_up(
    windows jsonb, team_id bigint, address text, least_tokens bigint,
    requests_limit bigint, tokens_limit bigint)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT bool_or((w->>0)::bigint >= requests_limit
                   OR (w->>1)::bigint + least_tokens > tokens_limit)
    FROM (VALUES (windows -> ('team ' || team_id)), (windows -> ('address ' || address))) AS v(w)
$$;

-- Return the minutes with one more request of `tokens` tokens counted.
CREATE OR REPLACE FUNCTION billing_count_free(
    windows jsonb, team_id bigint, address text, tokens bigint)
RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT windows || jsonb_object_agg(s, jsonb_build_array(
        (windows -> s ->> 0)::bigint + 1, (windows -> s ->> 1)::bigint + tokens, windows -> s -> 2))
    FROM (VALUES ('team ' || team_id), ('address ' || address)) AS v(s)
$$;

-- Return the seconds until both minutes are over.
CREATE OR REPLACE FUNCTION billing_free_retry_after(windows jsonb, team_id bigint, address text)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest((windows -> ('team ' || team_id) ->> 2)::bigint,
                    (windows -> ('address ' || address) ->> 2)::bigint)
$$;

-- Write the minutes as a batch leaves them, and return whether all of them were written.
CREATE OR REPLACE FUNCTION billing_write_free_windows(windows jsonb)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    UPDATE billing_freewindow w
    SET requests = (e.value ->> 0)::bigint, tokens = (e.value ->> 1)::bigint
    FROM jsonb_each(windows) AS e(subject, value) WHERE w.subject = e.subject;
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written = (SELECT count(*) FROM jsonb_object_keys(windows));
END
$$;

-- Return whose keys these are and what is left of their minute; reserve and count nothing.
CREATE OR REPLACE FUNCTION billing_identify(batch jsonb)
RETURNS TABLE (
    request_id uuid, code text, catalogue_version bigint,
    key_id bigint, account_id bigint, team_id bigint, available_nanos bigint,
    requests_limit bigint, requests_remaining bigint,
    tokens_limit bigint, tokens_remaining bigint, reset_at bigint
)
LANGUAGE sql STABLE AS $$
    SELECT r.request_id,
           CASE WHEN k.scope <> 'inference' THEN 'wrong_scope'
                WHEN t.suspended_at IS NOT NULL THEN 'team_suspended'
                ELSE 'identified' END,
           v.version, k.id, a.id, t.id, a.posted_nanos - a.held_nanos,
           l.requests, greatest(0, l.requests - coalesce(w.requests, 0)),
           l.tokens, greatest(0, l.tokens - coalesce(w.tokens, 0)),
           ceil(extract(epoch FROM coalesce(w.started_at, now()) + interval '1 minute'))::bigint
    FROM jsonb_to_recordset(batch) AS r(request_id uuid, digests text[])
    CROSS JOIN LATERAL unnest(r.digests) AS d(digest)
    JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
    JOIN accounts_team t ON t.id = k.team_id
    JOIN accounts_plan p ON p.id = t.plan_id
    JOIN billing_creditaccount a ON a.team_id = k.team_id
    CROSS JOIN LATERAL (
        SELECT coalesce(k.requests_per_minute, p.requests_per_minute)::bigint AS requests,
               coalesce(k.tokens_per_minute, p.tokens_per_minute)::bigint AS tokens) AS l
    JOIN billing_catalogueversion v ON v.id = 1
    LEFT JOIN billing_ratewindow w
           ON w.key_id = k.id AND w.started_at > now() - interval '1 minute'
    WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
$$;
