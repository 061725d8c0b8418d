-- What the tables refuse whoever asks: a closed day's root is never changed.

CREATE OR REPLACE TRIGGER dayroot_append_only
    BEFORE UPDATE OR DELETE ON billing_dayroot FOR EACH ROW
    EXECUTE FUNCTION billing_refuse_change('Customers have this root, and receipts lead to it.');

CREATE OR REPLACE TRIGGER dayroot_never_emptied
    BEFORE TRUNCATE ON billing_dayroot FOR EACH STATEMENT
    EXECUTE FUNCTION billing_refuse_change('Customers have these roots.');
