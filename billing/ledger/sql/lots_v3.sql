-- Credit lots: what is left of each promotional credit and each payment.
--
-- Every transfer that credits a customer creates a lot. Usage touches none: what was spent is the
-- difference between the lots and the balance, and is drawn from the lots the next time they are
-- needed. So lots cost a request nothing, and are exact whenever they are read.
--
-- Spending draws promotional lots before paid ones, the earliest expiry first, then the oldest.
-- Taking credits back draws in the reverse order, after the lot of the credit in question. What may
-- be reversed later (a refund, a claw-back, a collection) records which lots it drew
-- (billing_lotmovement), and its reversal returns the credits to them.
--
-- The records' guard is here, since this version introduced their table.

CREATE OR REPLACE TRIGGER lot_movement_append_only
    BEFORE UPDATE OR DELETE ON billing_lotmovement FOR EACH ROW
    EXECUTE FUNCTION billing_refuse_change('What was drawn is returned by another movement.');

-- Return what is left of the customer's lots, after all spending.
CREATE OR REPLACE FUNCTION billing_lots_left(customer bigint)
RETURNS TABLE (transfer_id bigint, is_paid boolean, expires_at timestamptz, left_nanos bigint)
LANGUAGE sql STABLE AS $$
    WITH queue AS (
        SELECT l.*, sum(l.remaining_nanos) OVER spending AS through,
               sum(l.remaining_nanos) OVER () - a.posted_nanos AS spent
        FROM billing_creditlot l JOIN billing_creditaccount a ON a.id = l.account_id
        WHERE l.account_id = customer AND l.remaining_nanos > 0
        WINDOW spending AS (ORDER BY l.is_paid, l.expires_at NULLS LAST, l.transfer_id)
    )
    SELECT transfer_id, is_paid, expires_at,
           greatest(0, least(remaining_nanos, through - spent))::bigint
    FROM queue
$$;

-- Draw from the customer's lots what was spent since the last draw. The caller has the lock.
CREATE OR REPLACE FUNCTION billing_draw_spending(customer bigint)
RETURNS void LANGUAGE sql AS $$
    UPDATE billing_creditlot l SET remaining_nanos = now_left.left_nanos
    FROM billing_lots_left(customer) AS now_left
    WHERE l.transfer_id = now_left.transfer_id AND l.remaining_nanos <> now_left.left_nanos
$$;

-- Draw what is taken back: from the lot of the named credit (a transfer's kind and reference), then
-- from those that would be spent last. Return how much was drawn. The caller has the lock, and has
-- drawn the spending.
CREATE OR REPLACE FUNCTION billing_draw_credit_back(
    customer bigint, amount bigint, credit_kind text, credit_reference text)
RETURNS bigint LANGUAGE sql AS $$
    WITH queue AS (
        SELECT l.transfer_id, l.remaining_nanos, sum(l.remaining_nanos) OVER giving_back AS through
        FROM billing_creditlot l JOIN billing_transfer t ON t.id = l.transfer_id
        WHERE l.account_id = customer AND l.remaining_nanos > 0
        WINDOW giving_back AS (
            ORDER BY (t.kind = credit_kind AND t.reference = credit_reference) DESC,
                     l.is_paid DESC, l.expires_at DESC NULLS FIRST, l.transfer_id DESC)
    ), drawn AS (
        UPDATE billing_creditlot l
        SET remaining_nanos = least(q.remaining_nanos, greatest(0, q.through - amount))
        FROM queue q
        WHERE l.transfer_id = q.transfer_id AND q.through - q.remaining_nanos < amount
        RETURNING q.remaining_nanos - l.remaining_nanos AS nanos
    )
    SELECT coalesce(sum(nanos), 0)::bigint FROM drawn
$$;

-- Return what is left of the customer's lots, for a later comparison: nanos by lot id.
CREATE OR REPLACE FUNCTION billing_lots_now(customer bigint)
RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_object_agg(transfer_id, remaining_nanos), '{}')
    FROM billing_creditlot WHERE account_id = customer AND remaining_nanos > 0
$$;

-- Record which lots a transfer drew: those with less left than in `before` (billing_lots_now);
-- nothing else has drawn from them since. Return how much was drawn. The caller has the lock.
CREATE OR REPLACE FUNCTION billing_record_draws(drawing bigint, customer bigint, before jsonb)
RETURNS bigint LANGUAGE sql AS $$
    WITH drawn AS (
        INSERT INTO billing_lotmovement (transfer_id, lot_id, amount_nanos)
        SELECT drawing, l.transfer_id, l.remaining_nanos - b.nanos::bigint
        FROM jsonb_each_text(before) AS b(lot, nanos)
        JOIN billing_creditlot l ON l.transfer_id = b.lot::bigint
        WHERE l.remaining_nanos < b.nanos::bigint AND l.account_id = customer
        RETURNING -amount_nanos AS nanos
    )
    SELECT coalesce(sum(nanos), 0)::bigint FROM drawn
$$;

-- Return `amount` to the lots that the transfers `undone` (ids) drew from, at most what each still
-- lacks: paid lots first, then promotional ones, the latest expiry first. Each lot keeps its kind
-- and its expiry: one that has expired meanwhile is taken by the next run of billing_expire_lots.
-- Return how much was returned. The caller has the lock, and has drawn the spending.
CREATE OR REPLACE FUNCTION billing_restore_lots(
    restoring bigint, customer bigint, amount bigint, undone bigint[])
RETURNS bigint LANGUAGE sql AS $$
    WITH missing AS (
        SELECT lot_id, -sum(amount_nanos) AS nanos FROM billing_lotmovement
        WHERE transfer_id = ANY (undone) GROUP BY lot_id HAVING sum(amount_nanos) < 0
    ), queue AS (
        SELECT m.lot_id, m.nanos, sum(m.nanos) OVER (
                   ORDER BY l.is_paid DESC, l.expires_at DESC NULLS FIRST, l.transfer_id DESC
               ) AS through
        FROM missing m JOIN billing_creditlot l ON l.transfer_id = m.lot_id
        WHERE l.account_id = customer
    ), given AS (
        SELECT lot_id, least(nanos, amount - through + nanos)::bigint AS nanos
        FROM queue WHERE through - nanos < amount
    ), restored AS (
        UPDATE billing_creditlot l SET remaining_nanos = l.remaining_nanos + g.nanos
        FROM given g WHERE l.transfer_id = g.lot_id RETURNING l.transfer_id, g.nanos
    ), recorded AS (
        INSERT INTO billing_lotmovement (transfer_id, lot_id, amount_nanos)
        SELECT restoring, transfer_id, nanos FROM restored RETURNING amount_nanos
    )
    SELECT coalesce(sum(amount_nanos), 0)::bigint FROM recorded
$$;

-- Take back expired promotional credit: what is left of each lot and not held by open requests.
-- What is held is taken by the next run, unless it is spent by then. Return how many transfers.
CREATE OR REPLACE FUNCTION billing_expire_lots(row_limit integer)
RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    due bigint[];
    lot record;
    taken bigint;
    expiry text;
    transfers integer := 0;
BEGIN
    SELECT array_agg(transfer_id) INTO due FROM (
        SELECT transfer_id FROM billing_creditlot
        WHERE remaining_nanos > 0 AND expires_at < now()
        ORDER BY expires_at LIMIT row_limit
    ) AS expired;
    PERFORM a.id FROM billing_creditaccount a
    WHERE a.id IN (SELECT account_id FROM billing_creditlot WHERE transfer_id = ANY (due))
    ORDER BY a.id FOR NO KEY UPDATE OF a;
    PERFORM billing_draw_spending(account_id) FROM (
        SELECT DISTINCT account_id FROM billing_creditlot WHERE transfer_id = ANY (due)
    ) AS accounts;

    FOR lot IN
        SELECT l.transfer_id, l.account_id, l.expires_at, l.expired_nanos FROM billing_creditlot l
        WHERE l.transfer_id = ANY (due) ORDER BY l.account_id, l.expires_at, l.transfer_id
    LOOP
        SELECT least(l.remaining_nanos, a.posted_nanos - a.held_nanos) INTO taken
        FROM billing_creditlot l JOIN billing_creditaccount a ON a.id = l.account_id
        WHERE l.transfer_id = lot.transfer_id;
        CONTINUE WHEN taken <= 0;
        expiry := lot.transfer_id || ':' || lot.expired_nanos;
        PERFORM billing_require_posted(p.code, 'expiry', expiry)
        FROM billing_post(
            'expiry', expiry, lot.account_id, 'debit', 'promotional_grants', taken,
            'Expired on ' || to_char(lot.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')) AS p;
        UPDATE billing_creditlot
        SET remaining_nanos = remaining_nanos - taken, expired_nanos = expired_nanos + taken
        WHERE transfer_id = lot.transfer_id;
        transfers := transfers + 1;
    END LOOP;
    RETURN transfers;
END
$$;
