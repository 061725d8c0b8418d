-- Postings of staff, payments and Celery: one transfer each, named by (kind, reference).

-- Makes the team's credit account, or finds it.
CREATE OR REPLACE FUNCTION billing_open_account(of_team bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    account bigint;
BEGIN
    INSERT INTO billing_creditaccount
        (kind, team_id, posted_nanos, held_nanos, last_sequence, created_at)
    VALUES ('customer', of_team, 0, 0, 0, now())
    ON CONFLICT (team_id) DO NOTHING;
    SELECT id INTO STRICT account FROM billing_creditaccount WHERE team_id = of_team;
    RETURN account;
END
$$;

-- Moves `amount` between a customer and one of the platform's accounts.
--
-- `direction` is `credit` (the customer gains) or `debit`. `code` comes back as `posted`, `exists`
-- (the same transfer was made before: nothing moved), `exists_with_different_fields`, or
-- `exceeds_credits` (a debit above what is available: nothing moved).
CREATE OR REPLACE FUNCTION billing_post(
    transfer_kind text, transfer_reference text, customer bigint, direction text,
    platform_kind text, amount bigint, transfer_memo text)
RETURNS TABLE (code text, transfer_id bigint, amount_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    platform bigint;
    earlier billing_transfer;
    new_balance bigint;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;
    SELECT id INTO STRICT platform FROM billing_creditaccount
    WHERE kind = platform_kind AND kind <> 'customer';

    SELECT * INTO earlier FROM billing_transfer
    WHERE kind = transfer_kind AND reference = transfer_reference;
    IF NOT FOUND THEN
        IF direction = 'debit' AND account.posted_nanos - account.held_nanos < amount THEN
            RETURN QUERY SELECT 'exceeds_credits', NULL::bigint, 0::bigint, account.posted_nanos;
            RETURN;
        END IF;
        new_balance := account.posted_nanos
            + CASE direction WHEN 'debit' THEN -amount ELSE amount END;
        INSERT INTO billing_transfer (
            kind, reference, debit_account_id, credit_account_id, amount_nanos,
            customer_id, sequence, balance_nanos, memo, created_at)
        VALUES (
            transfer_kind, transfer_reference,
            CASE direction WHEN 'debit' THEN customer ELSE platform END,
            CASE direction WHEN 'debit' THEN platform ELSE customer END,
            amount, customer, account.last_sequence + 1, new_balance, transfer_memo, now())
        ON CONFLICT (kind, reference) DO NOTHING
        RETURNING id INTO transfer_id;
        IF FOUND THEN
            UPDATE billing_creditaccount
            SET posted_nanos = new_balance, last_sequence = last_sequence + 1 WHERE id = customer;
            RETURN QUERY SELECT 'posted', transfer_id, amount, new_balance;
            RETURN;
        END IF;
        -- Another customer's posting, whose account's lock this one does not wait for, was first.
        SELECT * INTO STRICT earlier FROM billing_transfer
        WHERE kind = transfer_kind AND reference = transfer_reference;
    END IF;
    RETURN QUERY SELECT
        CASE WHEN earlier.amount_nanos = amount AND customer = CASE direction
                 WHEN 'debit' THEN earlier.debit_account_id
                 ELSE earlier.credit_account_id END
             THEN 'exists' ELSE 'exists_with_different_fields' END,
        earlier.id, earlier.amount_nanos, account.posted_nanos;
END
$$;

-- Takes back what a payment gave: what is available from the customer, the rest as receivable.
-- `code` is `posted`, `exists` (with what the first try took) or `exists_with_different_fields`.
-- The memo of a receivable ends with its account: no customer is a side of that transfer.
CREATE OR REPLACE FUNCTION billing_claw_back(
    transfer_reference text, customer bigint, amount bigint, transfer_memo text)
RETURNS TABLE (code text, clawed_back_nanos bigint, receivable_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    earlier record;
    taken bigint;
    owner text := ' (account ' || customer || ')';
    posting text;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;

    SELECT count(*) AS transfers,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = 'clawback'), 0)::bigint AS taken,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = 'receivable'), 0)::bigint AS owed,
           bool_and(debit_account_id = customer OR right(memo, length(owner)) = owner) AS is_same
    INTO earlier
    FROM billing_transfer
    WHERE kind IN ('clawback', 'receivable') AND reference = transfer_reference;
    IF earlier.transfers > 0 THEN
        RETURN QUERY SELECT
            CASE WHEN earlier.taken + earlier.owed = amount AND earlier.is_same
                 THEN 'exists' ELSE 'exists_with_different_fields' END,
            earlier.taken, earlier.owed, account.posted_nanos;
        RETURN;
    END IF;

    taken := least(amount, account.posted_nanos - account.held_nanos);
    IF taken > 0 THEN
        SELECT p.code INTO STRICT posting FROM billing_post(
            'clawback', transfer_reference, customer, 'debit', 'stripe_clearing', taken,
            transfer_memo) AS p;
        IF posting <> 'posted' THEN  -- another customer's, at the same time
            RETURN QUERY SELECT 'exists_with_different_fields', 0::bigint, 0::bigint,
                                account.posted_nanos;
            RETURN;
        END IF;
    END IF;
    IF taken < amount THEN
        INSERT INTO billing_transfer (
            kind, reference, debit_account_id, credit_account_id, amount_nanos, memo, created_at)
        SELECT 'receivable', transfer_reference, r.id, s.id, amount - taken,
               left(transfer_memo, 300 - length(owner)) || owner, now()
        FROM billing_creditaccount r, billing_creditaccount s
        WHERE r.kind = 'receivable' AND s.kind = 'stripe_clearing';
    END IF;
    RETURN QUERY SELECT 'posted', taken, amount - taken, account.posted_nanos - taken;
END
$$;
