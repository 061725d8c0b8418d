-- Money that goes back: refunds and disputes, and their reversals.
--
-- `refund` and `clawback` take credits from a customer; what the customer no longer has is booked
-- separately under the same reference: as the operator's `goodwill`, or as a `receivable`. Neither
-- side of that transfer is a customer: its `owner_id` says whose shortfall it is. (The memo ends
-- with the owner too, where the previous release looks for it, in case of a rollback.)
--
-- A reversal returns credits to the lots they were drawn from, which keep their kind and expiry. It
-- may come in parts: the first one has the reference of what it reverses, a later one's reference
-- ends with the sum reversed before it (`du_1:4000000000`).
--
-- A plan's payment buys no credits: its money is revenue, and its credits are promotional. A
-- dispute or a refund of it books the money separately (billing_book), and takes the credits back
-- to `promotional_grants`, where they came from.

CREATE OR REPLACE FUNCTION billing_shortfall_of(transfer_kind text, OUT kind text, OUT account text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE transfer_kind WHEN 'refund' THEN 'goodwill' WHEN 'clawback' THEN 'receivable' END,
           CASE transfer_kind WHEN 'refund' THEN 'adjustments' WHEN 'clawback' THEN 'receivable' END
$$;

CREATE OR REPLACE FUNCTION billing_owner(customer bigint)
RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ' (account ' || customer || ')' $$;

-- Book a customer's shortfall, or its reversal, between two of the platform's accounts.
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

-- Draw what a transfer takes back from the lots, and record which ones it drew.
CREATE OR REPLACE FUNCTION billing_draw_back_for(
    drawing bigint, customer bigint, amount bigint, credit_kind text, credit_reference text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    before constant jsonb := billing_lots_now(customer);
BEGIN
    PERFORM billing_require_equal(
        billing_draw_credit_back(customer, amount, credit_kind, credit_reference), amount,
        'drawn from the lots');
    PERFORM billing_require_equal(
        billing_record_draws(drawing, customer, before), amount,
        'recorded as drawn from the lots');
END
$$;

-- Take back a payment's credits: what is available from the customer, the rest as a shortfall.
-- `credit_kind` and `credit_reference` name the transfer that gave the credits: a top-up, or the
-- grant of a plan's payment. Where the posting may not fall short, it takes unspent paid credit and
-- what is left of the named credit, or nothing: never any other promotional credit.
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
    posting record;
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
        SELECT * INTO STRICT posting FROM billing_post(
            transfer_kind, transfer_reference, customer, 'debit', 'stripe_clearing', taken,
            transfer_memo);
        IF posting.code = 'exists_with_different_fields' THEN  -- another customer's, meanwhile
            RETURN QUERY SELECT posting.code, 0::bigint, 0::bigint, account.posted_nanos;
            RETURN;
        END IF;
        PERFORM billing_require_posted(posting.code, transfer_kind, transfer_reference);
        PERFORM billing_draw_back_for(
            posting.transfer_id, customer, taken, credit_kind, credit_reference);
    END IF;
    IF taken < amount THEN
        PERFORM billing_book_shortfall(
            shortfall.kind, transfer_reference, shortfall.account, 'stripe_clearing',
            amount - taken, customer, transfer_memo);
    END IF;
    RETURN QUERY SELECT 'posted', taken, amount - taken, account.posted_nanos - taken;
END
$$;

-- Take back credits for processes of the previous release, which name only the payment: the credit
-- is the payment's top-up, or else the grant with that reference.
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

-- Take back a grant: up to `amount` of what is left of it, and nothing else. What was spent of it
-- is owed (`receivable`), at most `most_owed`; what expired is not, since it was taken back then.
-- `code` is `posted`, `exists` (with the first call's result) or `exists_with_different_fields`:
-- the reference is another customer's, or the first call's result exceeds what this one could have.
-- (The first call's amount is not stored, so a repeat that asks for more counts as the same.)
CREATE OR REPLACE FUNCTION billing_take_back_grant(
    transfer_reference text, customer bigint, amount bigint, grant_reference text,
    most_owed bigint, transfer_memo text)
RETURNS TABLE (code text, taken_nanos bigint, shortfall_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    earlier record;
    lot record;
    taken bigint;
    owed bigint;
    posting record;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;
    SELECT count(*) AS transfers,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = 'clawback'), 0)::bigint AS taken,
           coalesce(sum(amount_nanos) FILTER (WHERE kind = 'receivable'), 0)::bigint AS owed,
           bool_and(customer IN (debit_account_id, owner_id)) AS is_same
    INTO earlier FROM billing_transfer
    WHERE kind IN ('clawback', 'receivable') AND reference = transfer_reference;
    IF earlier.transfers > 0 THEN
        RETURN QUERY SELECT
            CASE WHEN earlier.is_same AND earlier.taken + earlier.owed <= amount
                      AND earlier.owed <= most_owed
                 THEN 'exists' ELSE 'exists_with_different_fields' END,
            earlier.taken, earlier.owed, account.posted_nanos;
        RETURN;
    END IF;

    PERFORM billing_draw_spending(customer);
    SELECT coalesce(sum(l.remaining_nanos), 0)::bigint AS remaining,
           coalesce(sum(l.amount_nanos - l.expired_nanos), 0)::bigint AS lasting
    INTO lot FROM billing_creditlot l JOIN billing_transfer t ON t.id = l.transfer_id
    WHERE l.account_id = customer AND t.kind = 'grant' AND t.reference = grant_reference;
    taken := greatest(0, least(amount, lot.remaining, account.posted_nanos - account.held_nanos));
    owed := greatest(0, least(least(amount, lot.lasting) - taken, most_owed));
    IF taken > 0 THEN
        SELECT * INTO STRICT posting FROM billing_post(
            'clawback', transfer_reference, customer, 'debit', 'promotional_grants', taken,
            transfer_memo);
        PERFORM billing_require_posted(posting.code, 'clawback', transfer_reference);
        PERFORM billing_draw_back_for(
            posting.transfer_id, customer, taken, 'grant', grant_reference);
    END IF;
    IF owed > 0 THEN
        PERFORM billing_book_shortfall(
            'receivable', transfer_reference, 'receivable', 'promotional_grants', owed, customer,
            transfer_memo);
    END IF;
    RETURN QUERY SELECT 'posted', taken, owed, account.posted_nanos - taken;
END
$$;

-- Return the state of a customer's refund or claw-back: what it took and its shortfall, what has
-- been collected, what has been restored to the customer and how much of the shortfall has been
-- reversed. Each part of a reversal names the sum reversed before it. `undone` are the transfers
-- that drew from lots or returned to them, `against` is the platform's account on the other side.
CREATE OR REPLACE FUNCTION billing_take_back_state(
    transfer_kind text, transfer_reference text, customer bigint,
    OUT taken bigint, OUT missing bigint, OUT collected bigint,
    OUT restored bigint, OUT ended bigint, OUT undone bigint[], OUT against bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    shortfall record := billing_shortfall_of(transfer_kind);
    part record;
    part_reference text := transfer_reference;
BEGIN
    SELECT coalesce(sum(t.amount_nanos) FILTER (WHERE t.kind = transfer_kind), 0),
           coalesce(sum(t.amount_nanos) FILTER (WHERE t.kind = shortfall.kind), 0),
           coalesce(sum(t.amount_nanos) FILTER (WHERE t.kind = 'collection'), 0),
           coalesce(array_agg(t.id), '{}'),
           max(t.credit_account_id) FILTER (WHERE t.kind <> 'collection')
    INTO taken, missing, collected, undone, against
    FROM billing_transfer t
    WHERE t.reference = transfer_reference
      AND t.kind IN (transfer_kind, shortfall.kind,
                     CASE transfer_kind WHEN 'clawback' THEN 'collection' END)
      AND customer IN (t.customer_id, t.owner_id);
    restored := 0;
    ended := 0;
    LOOP
        SELECT coalesce(sum(t.amount_nanos) FILTER (
                   WHERE t.kind = transfer_kind || '_reversal'), 0)::bigint AS restored,
               coalesce(sum(t.amount_nanos) FILTER (
                   WHERE t.kind = shortfall.kind || '_reversal'), 0)::bigint AS ended,
               array_agg(t.id) AS transfers
        INTO part FROM billing_transfer t
        WHERE t.reference = part_reference
          AND t.kind IN (transfer_kind || '_reversal', shortfall.kind || '_reversal')
          AND customer IN (t.customer_id, t.owner_id);
        EXIT WHEN part.transfers IS NULL;
        restored := restored + part.restored;
        ended := ended + part.ended;
        undone := undone || part.transfers;
        part_reference := transfer_reference || ':' || restored + ended;
    END LOOP;
END
$$;

-- Post credits that return to the lots that `undone` drew from; what has no record of its lots,
-- since it was taken before there were any, returns as a promotional lot that never expires.
CREATE OR REPLACE FUNCTION billing_post_return(
    transfer_kind text, transfer_reference text, customer bigint, platform bigint, amount bigint,
    undone bigint[], transfer_memo text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    posted bigint;
    restored bigint;
BEGIN
    PERFORM billing_draw_spending(customer);
    INSERT INTO billing_transfer (
        kind, reference, debit_account_id, credit_account_id, amount_nanos, customer_id, sequence,
        balance_nanos, memo, created_at)
    SELECT transfer_kind, transfer_reference, platform, a.id, amount, a.id, a.last_sequence + 1,
           a.posted_nanos + amount, transfer_memo, now()
    FROM billing_creditaccount a WHERE a.id = customer
    RETURNING id INTO STRICT posted;
    restored := billing_restore_lots(posted, customer, amount, undone);
    IF restored < amount THEN
        INSERT INTO billing_creditlot (
            transfer_id, account_id, is_paid, amount_nanos, remaining_nanos, expired_nanos,
            created_at)
        VALUES (posted, customer, false, amount - restored, amount - restored, 0, now());
    END IF;
    UPDATE billing_creditaccount
    SET posted_nanos = posted_nanos + amount, last_sequence = last_sequence + 1
    WHERE id = customer;
END
$$;

-- Reverse a failed refund, or the claw-back of a won dispute, until `target` of it has been
-- reversed in total: first what is still owed is cancelled, then the customer gets back what was
-- taken (and collected since). So the same total may be given again, and nothing is reversed twice.
-- `code` is `posted` (with what this call reversed), `exists` (with all that has been reversed: at
-- least `target`), or `unknown` where nothing was taken.
CREATE OR REPLACE FUNCTION billing_reverse_up_to(
    transfer_kind text, transfer_reference text, customer bigint, target bigint,
    transfer_memo text)
RETURNS TABLE (code text, restored_nanos bigint, shortfall_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    shortfall record := billing_shortfall_of(transfer_kind);
    before record;
    part bigint;
    ending bigint;
    part_reference text := transfer_reference;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;
    SELECT * INTO before FROM billing_take_back_state(transfer_kind, transfer_reference, customer);
    IF before.taken + before.missing = 0 THEN
        RETURN QUERY SELECT 'unknown', 0::bigint, 0::bigint, account.posted_nanos;
        RETURN;
    END IF;
    part := least(target, before.taken + before.missing) - before.restored - before.ended;
    IF part <= 0 THEN
        RETURN QUERY SELECT 'exists', before.restored, before.ended, account.posted_nanos;
        RETURN;
    END IF;
    ending := least(part, before.missing - before.collected - before.ended);
    IF before.restored + before.ended > 0 THEN
        part_reference := transfer_reference || ':' || before.restored + before.ended;
    END IF;
    IF ending < part THEN
        PERFORM billing_post_return(
            transfer_kind || '_reversal', part_reference, customer, before.against, part - ending,
            before.undone, transfer_memo);
    END IF;
    IF ending > 0 THEN
        PERFORM billing_book_shortfall(
            shortfall.kind || '_reversal', part_reference,
            (SELECT kind FROM billing_creditaccount WHERE id = before.against),
            shortfall.account, ending, customer, transfer_memo);
    END IF;
    RETURN QUERY SELECT 'posted', part - ending, ending, account.posted_nanos + part - ending;
END
$$;

-- Reverse all of it.
CREATE OR REPLACE FUNCTION billing_reverse(
    transfer_kind text, transfer_reference text, customer bigint, transfer_memo text)
RETURNS TABLE (code text, restored_nanos bigint, shortfall_nanos bigint, balance_nanos bigint)
LANGUAGE sql AS $$
    SELECT * FROM billing_reverse_up_to(
        transfer_kind, transfer_reference, customer, 9223372036854775807, transfer_memo)
$$;

-- Collect what is still owed for a claw-back, all of it or nothing. `code` is `posted`,
-- `exists`, `exceeds_credits`, or `unknown` where nothing is owed under that reference.
CREATE OR REPLACE FUNCTION billing_collect(
    transfer_reference text, customer bigint, transfer_memo text)
RETURNS TABLE (code text, collected_nanos bigint, balance_nanos bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    account billing_creditaccount;
    before record;
    lots jsonb;
    posting record;
BEGIN
    SELECT * INTO STRICT account FROM billing_creditaccount
    WHERE id = customer AND kind = 'customer' FOR NO KEY UPDATE;
    SELECT * INTO before FROM billing_take_back_state('clawback', transfer_reference, customer);
    IF before.missing = before.ended
       OR before.restored + before.ended = before.taken + before.missing THEN
        RETURN QUERY SELECT 'unknown', 0::bigint, account.posted_nanos;
        RETURN;
    ELSIF before.collected > 0 THEN
        RETURN QUERY SELECT 'exists', before.collected, account.posted_nanos;
        RETURN;
    END IF;
    PERFORM billing_draw_spending(customer);
    lots := billing_lots_now(customer);
    SELECT * INTO STRICT posting FROM billing_post(
        'collection', transfer_reference, customer, 'debit', 'receivable',
        before.missing - before.ended, transfer_memo);
    IF posting.code = 'posted' THEN
        PERFORM billing_draw_spending(customer);
        PERFORM billing_require_equal(
            billing_record_draws(posting.transfer_id, customer, lots), posting.amount_nanos,
            'recorded as drawn from the lots');
    END IF;
    RETURN QUERY SELECT posting.code, posting.amount_nanos, posting.balance_nanos;
END
$$;
