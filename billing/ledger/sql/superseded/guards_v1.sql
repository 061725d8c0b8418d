-- What the tables refuse whoever asks: history is never changed, a reservation ends once.

CREATE OR REPLACE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % is refused', TG_TABLE_NAME, lower(TG_OP)
        USING HINT = TG_ARGV[0], ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE OR REPLACE TRIGGER transfer_append_only
    BEFORE UPDATE OR DELETE ON billing_transfer FOR EACH ROW
    EXECUTE FUNCTION billing_refuse_change('A wrong transfer is corrected by another transfer.');

CREATE OR REPLACE TRIGGER transfer_never_emptied
    BEFORE TRUNCATE ON billing_transfer FOR EACH STATEMENT
    EXECUTE FUNCTION billing_refuse_change('The ledger keeps its transfers for ever.');

-- The condition stands in the trigger's WHEN, so the usual end (from `open`) costs no call.
CREATE OR REPLACE TRIGGER reservation_ends_once
    BEFORE UPDATE ON billing_reservation FOR EACH ROW
    WHEN (OLD.state <> 'open' OR OLD.amount_nanos <> NEW.amount_nanos
          OR OLD.account_id <> NEW.account_id)
    EXECUTE FUNCTION billing_refuse_change(
        'A reservation has exactly one end, and what was held is settled, not changed.');

CREATE OR REPLACE TRIGGER reservation_kept
    BEFORE DELETE ON billing_reservation FOR EACH ROW WHEN (OLD.state = 'open')
    EXECUTE FUNCTION billing_refuse_change('An open reservation is ended, not deleted.');

REVOKE UPDATE, DELETE, TRUNCATE ON billing_transfer FROM PUBLIC;

-- Counters of one minute are worth no write-ahead log: a crash that empties them costs a customer
-- nothing.
ALTER TABLE billing_ratewindow SET UNLOGGED;

-- Rows that are updated over and over get room on their page, so that updates stay heap-only.
ALTER TABLE billing_creditaccount SET (fillfactor = 50);
ALTER TABLE billing_keyspend SET (fillfactor = 50);
ALTER TABLE billing_ratewindow SET (fillfactor = 50);
ALTER TABLE billing_reservation SET (fillfactor = 80);
