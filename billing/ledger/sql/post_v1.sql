-- Postings of staff, payments and Celery, named by (kind, reference).

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
-- `exceeds_credits` (a debit above what is available: nothing moved). A credit makes a lot, which
-- may expire.
CREATE OR REPLACE FUNCTION billing_post(
    transfer_kind text, transfer_reference text, customer bigint, direction text,
    platform_kind text, amount bigint, transfer_memo text,
    lot_expires_at timestamptz DEFAULT NULL)
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
            IF direction = 'credit' THEN
                PERFORM billing_draw_spending(customer);
                INSERT INTO billing_creditlot (
                    transfer_id, account_id, is_paid, amount_nanos, remaining_nanos,
                    expired_nanos, expires_at, created_at)
                VALUES (
                    transfer_id, customer,
                    transfer_kind IN ('top_up', 'refund_reversal', 'clawback_reversal'),
                    amount, amount, 0, lot_expires_at, now());
            END IF;
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

-- Posts between two of the platform's own accounts; `code` as of billing_post.
CREATE OR REPLACE FUNCTION billing_book(
    transfer_kind text, transfer_reference text, debit_kind text, credit_kind text,
    amount bigint, transfer_memo text)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    earlier billing_transfer;
BEGIN
    INSERT INTO billing_transfer (
        kind, reference, debit_account_id, credit_account_id, amount_nanos, memo, created_at)
    SELECT transfer_kind, transfer_reference, d.id, c.id, amount, transfer_memo, now()
    FROM billing_creditaccount d, billing_creditaccount c
    WHERE d.kind = debit_kind AND c.kind = credit_kind AND 'customer' NOT IN (d.kind, c.kind)
    ON CONFLICT (kind, reference) DO NOTHING;
    IF FOUND THEN
        RETURN 'posted';
    END IF;
    SELECT * INTO STRICT earlier FROM billing_transfer
    WHERE kind = transfer_kind AND reference = transfer_reference;
    RETURN CASE WHEN earlier.amount_nanos = amount AND earlier.memo = transfer_memo
                THEN 'exists' ELSE 'exists_with_different_fields' END;
END
$$;
