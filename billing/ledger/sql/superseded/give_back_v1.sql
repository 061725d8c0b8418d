-- Money that goes back: refunds, disputes, and what undoes them.
--
-- `refund` and `clawback` take credits from a customer; what the customer no longer has is booked
-- beside them under the same reference: a `goodwill` of the operator's, or a `receivable`. No
-- customer is a side of that transfer, so its memo ends with the account.

CREATE OR REPLACE FUNCTION billing_shortfall_of(transfer_kind text, OUT kind text, OUT account text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE transfer_kind WHEN 'refund' THEN 'goodwill' WHEN 'clawback' THEN 'receivable' END,
           CASE transfer_kind WHEN 'refund' THEN 'adjustments' WHEN 'clawback' THEN 'receivable' END
$$;

CREATE OR REPLACE FUNCTION billing_owner(customer bigint)
RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ' (account ' || customer || ')' $$;

-- Takes back what a payment gave: what is available from the customer, the rest as a shortfall.
-- Where it may not fall short, no more than the customer's unspent paid credit, or nothing.
-- `code` is `posted`, `exists` (with what the first try took), `exists_with_different_fields` or
-- `exceeds_credits` (with what could be taken as `taken_nanos`: nothing moved).
CREATE OR REPLACE FUNCTION billing_take_back(
    transfer_kind text, transfer_reference text, customer bigint, amount bigint, payment text,
    may_fall_short boolean, transfer_memo text)
RETURNS TABLE (code text, taken_nanos bigint, shortfall_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    shortfall record := billing_shortfall_of(transfer_kind);
    earlier record;
    paid bigint;
    taken bigint;
    owner constant text := billing_owner(customer);
    posting text;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;

    SELECT count(*) AS transfers,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = transfer_kind), 0)::bigint AS taken,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = shortfall.kind), 0)::bigint AS missing,
           bool_and(debit_account_id = customer OR right(memo, length(owner)) = owner) AS is_same
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
        SELECT coalesce(sum(remaining_nanos), 0) INTO paid
        FROM billing_creditlot WHERE account_id = customer AND is_paid;
        taken := least(taken, paid);
        IF taken < amount THEN
            RETURN QUERY SELECT 'exceeds_credits', taken, 0::bigint, account.posted_nanos;
            RETURN;
        END IF;
    END IF;
    IF taken > 0 THEN
        SELECT p.code INTO STRICT posting FROM billing_post(
            transfer_kind, transfer_reference, customer, 'debit', 'stripe_clearing', taken,
            transfer_memo) AS p;
        IF posting <> 'posted' THEN  -- another customer's, at the same time
            RETURN QUERY SELECT 'exists_with_different_fields', 0::bigint, 0::bigint,
                                account.posted_nanos;
            RETURN;
        END IF;
        PERFORM billing_draw_back(customer, taken, payment);
    END IF;
    IF taken < amount THEN
        INSERT INTO billing_transfer (
            kind, reference, debit_account_id, credit_account_id, amount_nanos, memo, created_at)
        SELECT shortfall.kind, transfer_reference, d.id, c.id, amount - taken,
               left(transfer_memo, 300 - length(owner)) || owner, now()
        FROM billing_creditaccount d, billing_creditaccount c
        WHERE d.kind = shortfall.account AND c.kind = 'stripe_clearing';
    END IF;
    RETURN QUERY SELECT 'posted', taken, amount - taken, account.posted_nanos - taken;
END
$$;

-- What a refund or a claw-back of this customer's came to so far.
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
          AND (t.customer_id = customer
               OR right(t.memo, length(billing_owner(customer))) = billing_owner(customer))
$$;

-- Undoes a refund that failed, or a claw-back whose dispute was won: the customer gets what was
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
        PERFORM billing_post(
            transfer_kind || '_reversal', transfer_reference, customer, 'credit',
            'stripe_clearing', restored, transfer_memo);
    END IF;
    IF ended > 0 THEN
        PERFORM billing_book(
            shortfall.kind || '_reversal', transfer_reference, 'stripe_clearing',
            shortfall.account, ended,
            left(transfer_memo, 300 - length(billing_owner(customer))) || billing_owner(customer));
    END IF;
    RETURN QUERY SELECT 'posted', restored, ended, account.posted_nanos + restored;
END
$$;

-- Takes what a claw-back left owing, all of it or nothing. `code` is `posted`, `exists`,
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
