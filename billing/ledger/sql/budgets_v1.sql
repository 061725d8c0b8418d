-- Budgets: what teams, members, keys, sessions and end users may spend in a period.
--
-- A rule (`billing_budgetrule`) is of a team, of a member's keys or of a key, or it is a key's rule
-- for each session or each end user. What counts against it is kept in rows of its series
-- (`billing_budgetspend`): one for each period and, of such a key's rule, for each subject.
-- Requests that name no session (no end user) share one row. A key that replaces another gets
-- rules of the same series. A series with a team's negative id has the sessions whose budget comes
-- with their requests.
--
-- A request counts in the periods in which it is admitted. A hard rule bounds what is spent and
-- held; another only warns. The account's lock guards the rows, and its `has_budgets` says
-- that the team has, or had, any.

-- Return the day on which a period begins. Weeks begin on Monday; a total began long ago.
CREATE OR REPLACE FUNCTION billing_period_start(period text, today date)
RETURNS date LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE period WHEN 'day' THEN today
                       WHEN 'week' THEN date_trunc('week', today)::date
                       WHEN 'month' THEN date_trunc('month', today)::date
                       ELSE date '1970-01-01' END
$$;

-- Return the threshold in percent that spending has reached, or 0.
CREATE OR REPLACE FUNCTION billing_reached_percent(spent_nanos bigint, limit_nanos bigint)
RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT (CASE WHEN spent_nanos >= limit_nanos THEN 100
                 WHEN spent_nanos >= limit_nanos * 0.95 THEN 95
                 WHEN spent_nanos >= limit_nanos * 0.75 THEN 75
                 WHEN spent_nanos >= limit_nanos * 0.5 THEN 50
                 ELSE 0 END)::smallint
$$;

-- What a request counts in: the rows' ids, the limit of each (null where it only warns), and what is
-- spent and held of it. All are null without budgets.
DO $$
BEGIN
    CREATE TYPE billing_request_budgets AS (spend_ids bigint[], limits bigint[], used bigint[]);
EXCEPTION WHEN duplicate_object THEN
    NULL;
END
$$;

-- Return the budgets of a request: the rules of its key, team and member, and the one that it brings.
CREATE OR REPLACE FUNCTION billing_budgets_for(
    of_key bigint, of_team bigint, of_member bigint,
    of_session text, of_end_user text, session_budget_nanos bigint,
    today date, this_week date, this_month date)
RETURNS TABLE (
    scope text, period text, series_id bigint, subject text, starts_on date,
    limit_nanos bigint, is_hard boolean
)
LANGUAGE sql STABLE AS $$
    SELECT r.scope::text, r.period::text, r.series_id,
           CASE r.scope WHEN 'session' THEN coalesce(left(of_session, 128), '')
                        WHEN 'end_user' THEN coalesce(left(of_end_user, 200), '')
                        ELSE '' END,
           CASE r.period WHEN 'day' THEN today WHEN 'week' THEN this_week
                         WHEN 'month' THEN this_month ELSE date '1970-01-01' END,
           r.limit_nanos, r.is_hard
    FROM billing_budgetrule r WHERE r.key_id = of_key
    UNION ALL
    SELECT r.scope::text, r.period::text, r.series_id, '',
           CASE r.period WHEN 'day' THEN today WHEN 'week' THEN this_week
                         WHEN 'month' THEN this_month ELSE date '1970-01-01' END,
           r.limit_nanos, r.is_hard
    FROM billing_budgetrule r
    WHERE r.team_id = of_team AND r.key_id IS NULL
      AND (r.member_id IS NULL OR r.member_id = of_member)
    UNION ALL
    SELECT 'session', 'total', -of_team, coalesce(left(of_session, 128), ''),
           date '1970-01-01', session_budget_nanos, true
    WHERE session_budget_nanos IS NOT NULL
$$;

-- Return the budgets of each request of a batch, in its order. Rows that a period, a session or an
-- end user lacks are made.
CREATE OR REPLACE FUNCTION billing_budgets_of(batch jsonb)
RETURNS billing_request_budgets[] LANGUAGE plpgsql AS $$
DECLARE
    today constant date := now() AT TIME ZONE 'UTC';
    this_week constant date := billing_period_start('week', today);
    this_month constant date := billing_period_start('month', today);
    budgets billing_request_budgets[];
    is_lacking boolean;
BEGIN
    LOOP
        SELECT array_agg((q.spend_ids, q.limits, q.used)::billing_request_budgets
                         ORDER BY r.place), bool_or(q.is_lacking)
        INTO budgets, is_lacking
        FROM ROWS FROM (jsonb_to_recordset(batch) AS (
                 digests text[], session_id text, end_user text, session_budget_nanos bigint))
             WITH ORDINALITY AS r(digests, session_id, end_user, session_budget_nanos, place)
        CROSS JOIN LATERAL (
            SELECT array_agg(s.id) AS spend_ids, array_agg(s.spent_nanos + s.held_nanos) AS used,
                   array_agg(CASE WHEN b.is_hard THEN b.limit_nanos END) AS limits,
                   bool_or(s.id IS NULL) AS is_lacking
            FROM unnest(r.digests) AS d(digest)
            JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
            CROSS JOIN LATERAL billing_budgets_for(
                k.id, k.team_id, k.created_by_id, r.session_id, r.end_user,
                r.session_budget_nanos, today, this_week, this_month) AS b
            LEFT JOIN billing_budgetspend s
                   ON s.series_id = b.series_id AND s.subject = b.subject
                  AND s.starts_on = b.starts_on
        ) AS q;
        EXIT WHEN is_lacking IS NOT true;
        INSERT INTO billing_budgetspend (
            account_id, series_id, subject, starts_on, limit_nanos, is_hard)
        SELECT a.id, b.series_id, b.subject, b.starts_on, max(b.limit_nanos), bool_or(b.is_hard)
        FROM jsonb_to_recordset(batch) AS r(
                 digests text[], session_id text, end_user text, session_budget_nanos bigint)
        CROSS JOIN LATERAL unnest(r.digests) AS d(digest)
        JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
        JOIN billing_creditaccount a ON a.team_id = k.team_id
        CROSS JOIN LATERAL billing_budgets_for(
            k.id, k.team_id, k.created_by_id, r.session_id, r.end_user, r.session_budget_nanos,
            today, this_week, this_month) AS b
        GROUP BY a.id, b.series_id, b.subject, b.starts_on
        ON CONFLICT DO NOTHING;
        EXIT WHEN NOT FOUND;  -- a team without an account lacks them for good, and is refused
    END LOOP;
    RETURN budgets;
END
$$;

-- Hold what a batch was granted in the budgets' rows, and return whether each budget covers it. A
-- session's row keeps the limit that its latest requests brought.
CREATE OR REPLACE FUNCTION billing_hold_spends(
    spend_ids bigint[], spend_holds bigint[], spend_limits bigint[])
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    written integer;
BEGIN
    UPDATE billing_budgetspend s
    SET held_nanos = s.held_nanos + h.amount_nanos,
        limit_nanos = coalesce(h.limit_nanos, s.limit_nanos)
    FROM unnest(spend_ids, spend_holds, spend_limits) AS h(spend_id, amount_nanos, limit_nanos)
    WHERE s.id = h.spend_id
      AND (h.amount_nanos = 0 OR h.limit_nanos IS NULL
           OR s.spent_nanos + s.held_nanos + h.amount_nanos <= h.limit_nanos);
    GET DIAGNOSTICS written = ROW_COUNT;
    RETURN written = cardinality(spend_ids);
END
$$;

-- Return the hard budget that leaves a request the least: a rule's, a session's, or one of the
-- key's own. `request` is an admission. `resets_at` is in unix seconds, null for one in all.
CREATE OR REPLACE FUNCTION billing_tightest_budget(request jsonb)
RETURNS TABLE (scope text, period text, limit_nanos bigint, left_nanos bigint, resets_at bigint)
LANGUAGE sql STABLE AS $$
    WITH days AS (SELECT (now() AT TIME ZONE 'UTC')::date AS today)
    SELECT b.scope, b.period, b.limit_nanos, greatest(0, b.limit_nanos - b.used),
           CASE WHEN b.period <> 'total' THEN
               extract(epoch FROM billing_period_start(b.period, days.today)::timestamp
                                  + ('1 ' || b.period)::interval)::bigint END
    FROM days, LATERAL (
        SELECT c.scope, c.period, c.limit_nanos,
               coalesce(s.spent_nanos + s.held_nanos, 0) AS used
        FROM jsonb_array_elements_text(request -> 'digests') AS d(digest)
        JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
        CROSS JOIN LATERAL billing_budgets_for(
            k.id, k.team_id, k.created_by_id, request ->> 'session_id', request ->> 'end_user',
            (request ->> 'session_budget_nanos')::bigint, days.today,
            billing_period_start('week', days.today), billing_period_start('month', days.today)
        ) AS c
        LEFT JOIN billing_budgetspend s
               ON s.series_id = c.series_id AND s.subject = c.subject
              AND s.starts_on = c.starts_on
        WHERE c.is_hard
        UNION ALL
        SELECT 'key', own.period, own.limit_nanos, own.spent_nanos + coalesce(s.held_nanos, 0)
        FROM jsonb_array_elements_text(request -> 'digests') AS d(digest)
        JOIN accounts_apikey k ON k.digest = decode(d.digest, 'hex')
        LEFT JOIN billing_keyspend s ON s.key_id = k.id
        CROSS JOIN LATERAL (VALUES
            ('day', k.budget_day_nanos,
             CASE WHEN s.day = days.today THEN s.day_nanos ELSE 0 END),
            ('month', k.budget_month_nanos,
             CASE WHEN s.month = date_trunc('month', days.today) THEN s.month_nanos ELSE 0 END),
            ('total', k.budget_total_nanos, coalesce(s.total_nanos, 0))
        ) AS own(period, limit_nanos, spent_nanos)
        WHERE own.limit_nanos IS NOT NULL
    ) AS b
    ORDER BY b.limit_nanos - b.used LIMIT 1
$$;

-- Return what was spent in the current period of a rule that is yet to be made.
CREATE OR REPLACE FUNCTION billing_spent_before(
    of_account bigint, of_team bigint, of_scope text, of_key bigint, of_member bigint,
    of_period text)
RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    today constant date := now() AT TIME ZONE 'UTC';
    this_month constant date := date_trunc('month', today);
    is_keys constant boolean := of_scope = 'key';  -- a key's includes what it took over
    spent bigint;
BEGIN
    IF of_scope IN ('session', 'end_user') THEN
        RETURN 0;
    ELSIF of_period = 'week' THEN
        SELECT coalesce(sum(u.charged_nanos), 0) INTO spent
        FROM billing_usagerecord u JOIN accounts_apikey k ON k.id = u.key_id
        WHERE u.account_id = of_account
          AND u.created_at >= date_trunc('week', today)::timestamp AT TIME ZONE 'UTC'
          AND (of_key IS NULL OR k.id = of_key)
          AND (of_member IS NULL OR k.created_by_id = of_member);
        RETURN spent;
    END IF;
    SELECT coalesce(sum(CASE of_period
        WHEN 'day' THEN CASE WHEN s.day = today THEN s.day_nanos ELSE 0 END
            - CASE WHEN s.carried_on = today AND NOT is_keys THEN s.carried_day_nanos ELSE 0 END
        WHEN 'month' THEN CASE WHEN s.month = this_month THEN s.month_nanos ELSE 0 END
            - CASE WHEN date_trunc('month', s.carried_on) = this_month AND NOT is_keys
                   THEN s.carried_month_nanos ELSE 0 END
        ELSE s.total_nanos - CASE WHEN is_keys THEN 0 ELSE s.carried_total_nanos END
        END), 0) INTO spent
    FROM billing_keyspend s JOIN accounts_apikey k ON k.id = s.key_id
    WHERE k.team_id = of_team AND (of_key IS NULL OR k.id = of_key)
      AND (of_member IS NULL OR k.created_by_id = of_member);
    RETURN spent;
END
$$;

-- Make or change the rule of a scope, its subject and its period, and return its id. A new rule of
-- a team, a member or a key counts what its period has spent so far; requests under way do not.
CREATE OR REPLACE FUNCTION billing_set_budget(
    of_team bigint, of_scope text, of_key bigint, of_member bigint, of_period text,
    new_limit_nanos bigint, new_is_hard boolean)
RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    period_start constant date := billing_period_start(of_period, (now() AT TIME ZONE 'UTC')::date);
    account bigint := billing_open_account(of_team);
    spent bigint;
    rule bigint;
    series bigint;
BEGIN
    -- 1. Sum up what was spent before the lock is taken, as that may take a while.
    spent := billing_spent_before(account, of_team, of_scope, of_key, of_member, of_period);
    PERFORM a.id FROM billing_creditaccount a WHERE a.id = account FOR NO KEY UPDATE;

    -- 2. Make or change the rule.
    IF of_key IS NOT NULL AND NOT EXISTS (
        SELECT FROM accounts_apikey k WHERE k.id = of_key AND k.team_id = of_team) THEN
        RAISE EXCEPTION 'key % is not one of team %', of_key, of_team
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    UPDATE billing_budgetrule r SET limit_nanos = new_limit_nanos, is_hard = new_is_hard
    WHERE r.team_id = of_team AND r.scope = of_scope AND r.period = of_period
      AND r.key_id IS NOT DISTINCT FROM of_key AND r.member_id IS NOT DISTINCT FROM of_member
    RETURNING r.id, r.series_id INTO rule, series;
    IF rule IS NULL THEN
        rule := nextval(pg_get_serial_sequence('billing_budgetrule', 'id'));
        series := rule;
        INSERT INTO billing_budgetrule (
            id, team_id, scope, key_id, member_id, period, limit_nanos, is_hard, series_id,
            created_at)
        VALUES (rule, of_team, of_scope, of_key, of_member, of_period, new_limit_nanos,
                new_is_hard, series, now());
        IF of_scope NOT IN ('session', 'end_user') THEN
            INSERT INTO billing_budgetspend (
                account_id, series_id, subject, starts_on, carried_nanos, spent_nanos)
            VALUES (account, series, '', period_start, spent, spent);
        END IF;
    END IF;

    -- 3. Let the rows of the period follow it. What is reached already gives no warning.
    UPDATE billing_budgetspend s
    SET limit_nanos = new_limit_nanos, is_hard = new_is_hard,
        warned_percent = billing_reached_percent(s.spent_nanos, new_limit_nanos)
    WHERE s.series_id = series AND s.starts_on = period_start;
    UPDATE billing_creditaccount a SET has_budgets = true
    WHERE a.id = account AND NOT a.has_budgets;
    RETURN rule;
END
$$;

-- Remove a team's rule, and return whether there was one. Its rows stay, without a limit.
CREATE OR REPLACE FUNCTION billing_remove_budget(of_team bigint, rule bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    account bigint;
    series bigint;
BEGIN
    SELECT a.id INTO account FROM billing_creditaccount a
    WHERE a.team_id = of_team FOR NO KEY UPDATE;
    DELETE FROM billing_budgetrule r WHERE r.id = rule AND r.team_id = of_team
    RETURNING r.series_id INTO series;
    IF series IS NULL THEN
        RETURN false;
    END IF;
    UPDATE billing_budgetspend s SET limit_nanos = NULL, is_hard = false
    WHERE s.series_id = series
      AND NOT EXISTS (SELECT FROM billing_budgetrule r WHERE r.series_id = series);
    RETURN true;
END
$$;
