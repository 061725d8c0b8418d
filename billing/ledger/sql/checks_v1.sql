-- Checks of what one function of the ledger relies on another for.
--
-- What was decided under an account's lock can't come out otherwise. If it does, the fault is ours,
-- and nothing of the transaction is kept.

-- Raise unless a posting was made.
CREATE OR REPLACE FUNCTION billing_require_posted(code text, transfer_kind text, reference text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF code IS DISTINCT FROM 'posted' THEN
        RAISE EXCEPTION '% % came out as %', transfer_kind, reference, code;
    END IF;
END
$$;

-- Raise unless as many rows were written as there was something to write for, or as much was drawn
-- as was taken.
CREATE OR REPLACE FUNCTION billing_require_equal(actual bigint, expected bigint, what text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF actual IS DISTINCT FROM expected THEN
        RAISE EXCEPTION '%: % instead of %', what, actual, expected;
    END IF;
END
$$;
