-- Money that goes back: refunds, disputes, and what undoes them.
--
-- `refund` and `clawback` take credits from a customer; what the customer no longer has is booked
-- beside them under the same reference: a `goodwill` of the operator's, or a `receivable`. No
-- customer is a side of that transfer: its `owner_id` says whose shortfall it is. (The memo ends
-- with the owner too, where the release before this one looks for it: it may be gone back to.)

CREATE OR REPLACE FUNCTION billing_shortfall_of(transfer_kind text, OUT kind text, OUT account text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE transfer_kind WHEN 'refund' THEN 'goodwill' WHEN 'clawback' THEN 'receivable' END,
           CASE transfer_kind WHEN 'refund' THEN 'adjustments' WHEN 'clawback' THEN 'receivable' END
$$;

CREATE OR REPLACE FUNCTION billing_owner(customer bigint)
RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ' (account ' || customer || ')' $$;

-- Book a customer's shortfall, or the end of one, between two of the platform's accounts.
CREATE OR REPLACE FUNCTION billing_book_shortfall(
    transfer_kind text, transfer_reference text, debit_kind text, credit_kind text,
    amount bigint, customer bigint, transfer_memo text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    suffix constant text := billing_owner(customer);
    booked integer;
BEGIN
    INSERT INTO billing_transfer (
        kind, reference, debit_account_id, credit_account_id, amount_nanos, owner_id, memo,
        created_at)
    SELECT transfer_kind, transfer_reference, d.id, c.id, amount, customer,
           left(transfer_memo, 300 - length(suffix)) || suffix, now()
    FROM billing_creditaccount d, billing_creditaccount c
    WHERE d.kind = debit_kind AND c.kind = credit_kind AND 'customer' NOT IN (d.kind, c.kind);
    GET DIAGNOSTICS booked = ROW_COUNT;
    PERFORM billing_require_equal(booked, 1, 'transfers booked for a shortfall');
END
$$;

-- Take back what a payment gave: what is available from the customer, the rest as a shortfall.
-- `credit_kind` and `credit_reference` name the transfer that gave the credits: a top-up, or the
-- grant that a plan's payment made. Where the posting may not fall short, it takes unspent paid
-- credit and what is left of the named one, or nothing: no other gift goes for a payment.
-- `code` is `posted`, `exists` (with what the first try took), `exists_with_different_fields` or
-- `exceeds_credits` (with what could be taken as `taken_nanos`: nothing moved).
CREATE OR REPLACE FUNCTION billing_take_back_credit(
    transfer_kind text, transfer_reference text, customer bigint, amount bigint,
    credit_kind text, credit_reference text, may_fall_short boolean, transfer_memo text)
RETURNS TABLE (code text, taken_nanos bigint, shortfall_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    shortfall record := billing_shortfall_of(transfer_kind);
    earlier record;
    refundable bigint;
    taken bigint;
    posting text;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;

    SELECT count(*) AS transfers,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = transfer_kind), 0)::bigint AS taken,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = shortfall.kind), 0)::bigint AS missing,
           bool_and(debit_account_id = customer OR owner_id IS NOT DISTINCT FROM customer)
               AS is_same
    INTO earlier
    FROM billing_transfer
    WHERE kind IN (transfer_kind, shortfall.kind) AND reference = transfer_reference;
    IF earlier.transfers > 0 THEN
        RETURN QUERY SELECT
            CASE WHEN earlier.taken + earlier.missing = amount AND earlier.is_same
                 THEN 'exists' ELSE 'exists_with_different_fields' END,
            earlier.taken, earlier.missing, account.posted_nanos;
        RETURN;
    END IF;

    PERFORM billing_draw_spending(customer);
    taken := least(amount, account.posted_nanos - account.held_nanos);
    IF NOT may_fall_short THEN
        SELECT coalesce(sum(l.remaining_nanos), 0) INTO refundable
        FROM billing_creditlot l JOIN billing_transfer t ON t.id = l.transfer_id
        WHERE l.account_id = customer AND l.remaining_nanos > 0
          AND (l.is_paid OR t.kind = credit_kind AND t.reference = credit_reference);
        taken := least(taken, refundable);
        IF taken < amount THEN
            RETURN QUERY SELECT 'exceeds_credits', taken, 0::bigint, account.posted_nanos;
            RETURN;
        END IF;
    END IF;
    IF taken > 0 THEN
        SELECT p.code INTO STRICT posting FROM billing_post(
            transfer_kind, transfer_reference, customer, 'debit', 'stripe_clearing', taken,
            transfer_memo) AS p;
        IF posting = 'exists_with_different_fields' THEN  -- another customer's, at the same time
            RETURN QUERY SELECT posting, 0::bigint, 0::bigint, account.posted_nanos;
            RETURN;
        END IF;
        PERFORM billing_require_posted(posting, transfer_kind, transfer_reference);
        PERFORM billing_require_equal(
            billing_draw_credit_back(customer, taken, credit_kind, credit_reference), taken,
            'drawn from the lots');
    END IF;
    IF taken < amount THEN
        PERFORM billing_book_shortfall(
            shortfall.kind, transfer_reference, shortfall.account, 'stripe_clearing',
            amount - taken, customer, transfer_memo);
    END IF;
    RETURN QUERY SELECT 'posted', taken, amount - taken, account.posted_nanos - taken;
END
$$;

-- Take back as processes of the release before this one ask for it, which name the payment alone:
-- the credit is the payment's top-up, or where there is none the grant of that reference.
CREATE OR REPLACE FUNCTION billing_take_back(
    transfer_kind text, transfer_reference text, customer bigint, amount bigint, payment text,
    may_fall_short boolean, transfer_memo text)
RETURNS TABLE (code text, taken_nanos bigint, shortfall_nanos bigint, balance_nanos bigint)
LANGUAGE sql AS $$
    SELECT * FROM billing_take_back_credit(
        transfer_kind, transfer_reference, customer, amount,
        CASE WHEN EXISTS (SELECT FROM billing_transfer
                          WHERE kind = 'top_up' AND reference = payment) THEN 'top_up'
             ELSE 'grant' END,
        payment, may_fall_short, transfer_memo)
$$;

-- Return what a refund or a claw-back of this customer's came to so far.
CREATE OR REPLACE FUNCTION billing_taken_back(
    transfer_kind text, transfer_reference text, customer bigint,
    OUT taken bigint, OUT missing bigint, OUT collected bigint, OUT is_reversed boolean)
LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(amount_nanos) FILTER (WHERE t.kind = transfer_kind), 0)::bigint,
           coalesce(sum(amount_nanos) FILTER (WHERE t.kind = s.kind), 0)::bigint,
           coalesce(sum(amount_nanos) FILTER (WHERE t.kind = 'collection'), 0)::bigint,
           count(*) FILTER (WHERE t.kind LIKE '%reversal') > 0
    FROM billing_shortfall_of(transfer_kind) AS s
    LEFT JOIN billing_transfer t
           ON t.reference = transfer_reference
          AND t.kind IN (transfer_kind, s.kind, transfer_kind || '_reversal',
                         s.kind || '_reversal',
                         CASE transfer_kind WHEN 'clawback' THEN 'collection' END)
          AND customer IN (t.customer_id, t.owner_id)
$$;

-- Undo a refund that failed, or a claw-back whose dispute was won: the customer gets what was
-- taken (and collected since), and the shortfall ends. `code` is `posted`, `exists`, or `unknown`
-- where nothing was taken under that reference.
CREATE OR REPLACE FUNCTION billing_reverse(
    transfer_kind text, transfer_reference text, customer bigint, transfer_memo text)
RETURNS TABLE (code text, restored_nanos bigint, shortfall_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    shortfall record := billing_shortfall_of(transfer_kind);
    before record;
    restored bigint;
    ended bigint;
    posting text;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;
    SELECT * INTO before FROM billing_taken_back(transfer_kind, transfer_reference, customer);
    IF before.taken + before.missing = 0 THEN
        RETURN QUERY SELECT 'unknown', 0::bigint, 0::bigint, account.posted_nanos;
        RETURN;
    END IF;
    restored := before.taken + before.collected;
    ended := before.missing - before.collected;
    IF before.is_reversed THEN
        RETURN QUERY SELECT 'exists', restored, ended, account.posted_nanos;
        RETURN;
    END IF;
    IF restored > 0 THEN
        SELECT p.code INTO STRICT posting FROM billing_post(
            transfer_kind || '_reversal', transfer_reference, customer, 'credit',
            'stripe_clearing', restored, transfer_memo) AS p;
        PERFORM billing_require_posted(posting, transfer_kind || '_reversal', transfer_reference);
    END IF;
    IF ended > 0 THEN
        PERFORM billing_book_shortfall(
            shortfall.kind || '_reversal', transfer_reference, 'stripe_clearing',
            shortfall.account, ended, customer, transfer_memo);
    END IF;
    RETURN QUERY SELECT 'posted', restored, ended, account.posted_nanos + restored;
END
$$;

-- Take what a claw-back left owing, all of it or nothing. `code` is `posted`, `exists`,
-- `exceeds_credits`, or `unknown` where nothing is owed under that reference.
CREATE OR REPLACE FUNCTION billing_collect(
    transfer_reference text, customer bigint, transfer_memo text)
RETURNS TABLE (code text, collected_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    before record;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;
    SELECT * INTO before FROM billing_taken_back('clawback', transfer_reference, customer);
    IF before.missing = 0 OR before.is_reversed THEN
        RETURN QUERY SELECT 'unknown', 0::bigint, account.posted_nanos;
    ELSIF before.collected > 0 THEN
        RETURN QUERY SELECT 'exists', before.collected, account.posted_nanos;
    ELSE
        RETURN QUERY SELECT p.code, p.amount_nanos, p.balance_nanos FROM billing_post(
            'collection', transfer_reference, customer, 'debit', 'receivable', before.missing,
            transfer_memo) AS p;
    END IF;
END
$$;
