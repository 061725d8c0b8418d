-- What a rotated key has spent of its budgets carries over to its successor.

-- Start the successor's counters at the key's current ones. What the key spends in its grace period
-- counts for the key alone. A repeat changes nothing, nor does a key that has spent nothing.
-- Return whether anything was carried over.
CREATE OR REPLACE FUNCTION billing_carry_spend(from_key bigint, to_key bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    today constant date := now() AT TIME ZONE 'UTC';
    this_month constant date := date_trunc('month', today);
BEGIN
    -- The caller holds the lock of the key's row. An admission that writes the key's first counters
    -- holds the account's and waits for that one: without counters, don't wait for the account.
    IF NOT EXISTS (SELECT FROM billing_keyspend WHERE key_id = from_key) THEN
        RETURN false;
    END IF;
    PERFORM a.id FROM billing_creditaccount a
    JOIN accounts_apikey k ON k.team_id = a.team_id
    WHERE k.id = from_key FOR NO KEY UPDATE OF a;

    INSERT INTO billing_keyspend (
        key_id, day, day_nanos, month, month_nanos, total_nanos, held_nanos,
        carried_on, carried_day_nanos, carried_month_nanos, carried_total_nanos)
    SELECT to_key, today, c.day_nanos, this_month, c.month_nanos, c.total_nanos, 0,
           today, c.day_nanos, c.month_nanos, c.total_nanos
    FROM (
        SELECT CASE WHEN s.day = today THEN s.day_nanos ELSE 0 END AS day_nanos,
               CASE WHEN s.month = this_month THEN s.month_nanos ELSE 0 END AS month_nanos,
               s.total_nanos
        FROM billing_keyspend s JOIN accounts_apikey old ON old.id = s.key_id
        JOIN accounts_apikey new ON new.id = to_key AND new.team_id = old.team_id
        WHERE s.key_id = from_key
    ) AS c
    ON CONFLICT (key_id) DO NOTHING;
    RETURN FOUND;
END
$$;
