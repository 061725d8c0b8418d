-- An audit of the ledger that shares nothing with the product: no function of it, no query of
-- check_ledger. It reads the tables as platform/docs/ledger.md describes them, and replays them.
--
-- Each row of the last statement is a finding: a check's name, and what was found. None is right.
-- `python -m tests.audit` runs it; so does every fault test, when it is over.

-- Replay every customer's transfers one by one, with the lots as they must have been.
CREATE OR REPLACE FUNCTION pg_temp.audit_lots() RETURNS TABLE (detail text) LANGUAGE plpgsql AS $$
DECLARE
    customer record;
    t record;
    oldest record;
    due bigint;
    part bigint;
    is_known boolean;
BEGIN
    CREATE TEMP TABLE IF NOT EXISTS audit_replay (
        lot bigint PRIMARY KEY, is_paid boolean, expires timestamptz, nanos bigint);
    FOR customer IN SELECT id, posted_nanos FROM billing_creditaccount WHERE kind = 'customer' LOOP
        DELETE FROM audit_replay;
        is_known := true;
        FOR t IN
            SELECT * FROM billing_transfer
            WHERE customer.id IN (debit_account_id, credit_account_id) ORDER BY id
        LOOP
            IF t.credit_account_id = customer.id THEN
                INSERT INTO audit_replay
                SELECT transfer_id, is_paid, expires_at, amount_nanos
                FROM billing_creditlot WHERE transfer_id = t.id;
            END IF;
            IF t.kind = 'expiry' THEN
                UPDATE audit_replay r SET nanos = r.nanos - t.amount_nanos
                WHERE r.lot::text = split_part(t.reference, ':', 1);
            ELSIF t.kind IN ('refund', 'clawback', 'collection', 'refund_reversal',
                             'clawback_reversal') THEN
                UPDATE audit_replay r SET nanos = r.nanos + m.amount_nanos
                FROM billing_lotmovement m WHERE m.transfer_id = t.id AND m.lot_id = r.lot;
                -- What was taken before movements were recorded can't be replayed.
                is_known := is_known AND (FOUND OR t.credit_account_id = customer.id);
            ELSIF t.debit_account_id = customer.id THEN
                due := t.amount_nanos;
                FOR oldest IN
                    SELECT * FROM audit_replay r WHERE r.nanos > 0
                    ORDER BY r.is_paid, r.expires NULLS LAST, r.lot
                LOOP
                    part := least(due, oldest.nanos);
                    UPDATE audit_replay r SET nanos = r.nanos - part WHERE r.lot = oldest.lot;
                    due := due - part;
                    EXIT WHEN due = 0;
                END LOOP;
                IF due > 0 THEN
                    RETURN QUERY SELECT format('account %s: transfer %s spent %s more than there was',
                                               customer.id, t.id, due);
                END IF;
            END IF;
        END LOOP;
        CONTINUE WHEN NOT is_known;
        RETURN QUERY
        WITH kept AS (
            SELECT l.transfer_id AS lot, l.remaining_nanos AS had,
                   sum(l.remaining_nanos) OVER (
                       ORDER BY l.is_paid, l.expires_at NULLS LAST, l.transfer_id) AS until_here,
                   sum(l.remaining_nanos) OVER () - customer.posted_nanos AS not_drawn_yet
            FROM billing_creditlot l WHERE l.account_id = customer.id
        ), now_left AS (
            SELECT k.lot, least(k.had, greatest(0, k.until_here - k.not_drawn_yet)) AS nanos
            FROM kept k
        )
        SELECT format('account %s: lot %s has %s, by the transfers %s', customer.id,
                      coalesce(n.lot, r.lot), n.nanos, r.nanos)
        FROM now_left n FULL JOIN audit_replay r ON r.lot = n.lot
        WHERE n.nanos IS DISTINCT FROM r.nanos;
    END LOOP;
END
$$;

WITH
account AS (SELECT * FROM billing_creditaccount),
-- Each transfer twice, as a bookkeeper has it: once on either side.
side AS (
    SELECT id, kind, reference, credit_account_id AS account, amount_nanos AS nanos
    FROM billing_transfer
    UNION ALL
    SELECT id, kind, reference, debit_account_id, -amount_nanos FROM billing_transfer
),
-- What may move what: kind, the debit's account, the credit's account.
rule (kind, debit, credit) AS (VALUES
    ('usage', 'customer', 'revenue'), ('write_off', 'write_off', 'revenue'),
    ('grant', 'promotional_grants', 'customer'), ('top_up', 'stripe_clearing', 'customer'),
    ('adjustment', 'adjustments', 'customer'), ('adjustment', 'customer', 'adjustments'),
    ('expiry', 'customer', 'promotional_grants'), ('refund', 'customer', 'stripe_clearing'),
    ('goodwill', 'adjustments', 'stripe_clearing'),
    ('clawback', 'customer', 'stripe_clearing'), ('clawback', 'customer', 'promotional_grants'),
    ('receivable', 'receivable', 'stripe_clearing'),
    ('receivable', 'receivable', 'promotional_grants'),
    ('collection', 'customer', 'receivable'),
    ('refund_reversal', 'stripe_clearing', 'customer'),
    ('clawback_reversal', 'stripe_clearing', 'customer'),
    ('clawback_reversal', 'promotional_grants', 'customer'),
    ('goodwill_reversal', 'stripe_clearing', 'adjustments'),
    ('receivable_reversal', 'stripe_clearing', 'receivable'),
    ('receivable_reversal', 'promotional_grants', 'receivable'),
    ('subscription', 'stripe_clearing', 'revenue'),
    ('revenue_reversal', 'revenue', 'stripe_clearing'),
    ('revenue_reinstatement', 'stripe_clearing', 'revenue')
),
-- What each event took, and what of it came back. A later part's reference ends with a figure.
event AS (
    SELECT regexp_replace(reference, '^((du|re|dp)_[A-Za-z0-9]+):\d+$', '\1') AS reference,
           sum(amount_nanos) FILTER (WHERE kind IN ('refund', 'goodwill')) AS refunded,
           sum(amount_nanos) FILTER (WHERE kind IN ('refund_reversal', 'goodwill_reversal'))
               AS unrefunded,
           sum(amount_nanos) FILTER (WHERE kind IN ('clawback', 'receivable')) AS clawed_back,
           sum(amount_nanos) FILTER (WHERE kind IN ('clawback_reversal', 'receivable_reversal'))
               AS restored,
           sum(amount_nanos) FILTER (WHERE kind = 'receivable') AS missing,
           sum(amount_nanos) FILTER (WHERE kind IN ('collection', 'receivable_reversal')) AS ended,
           sum(amount_nanos) FILTER (WHERE kind = 'revenue_reversal') AS revenue_out,
           sum(amount_nanos) FILTER (WHERE kind = 'revenue_reinstatement') AS revenue_in
    FROM billing_transfer
    WHERE kind IN ('refund', 'goodwill', 'refund_reversal', 'goodwill_reversal', 'clawback',
                   'receivable', 'clawback_reversal', 'receivable_reversal', 'collection',
                   'revenue_reversal', 'revenue_reinstatement')
    GROUP BY 1
),
-- What Stripe's rows of ours say that moved for each reference, without tax, in nano-dollars.
stripe (what, kinds, reference, nanos, slack) AS (
    SELECT 'order', ARRAY['top_up'], payment_intent_id, amount_cents * 10000000::bigint, 0
    FROM billing_order WHERE state = 'paid'
    UNION ALL
    SELECT 'refund', ARRAY['refund', 'goodwill', 'refund_reversal', 'goodwill_reversal'], id::text,
           CASE WHEN state IN ('failed', 'canceled') THEN 0 ELSE -amount_cents * 10000000::bigint END,
           CASE WHEN tax_cents = 0 THEN 0 ELSE 10000000 END
    FROM billing_refund
    UNION ALL
    SELECT 'dispute', ARRAY['clawback', 'receivable', 'clawback_reversal', 'receivable_reversal',
                            'revenue_reversal', 'revenue_reinstatement'], stripe_id,
           CASE WHEN NOT is_withdrawn OR is_reinstated THEN 0
                ELSE -(amount_cents - tax_cents)::numeric * (amount_cents - reinstated_cents)
                     / amount_cents * 10000000 END,
           CASE WHEN tax_cents = 0 AND reinstated_cents = 0 THEN 0 ELSE 10000000 END
    FROM billing_dispute
    UNION ALL
    SELECT 'plan refund', ARRAY['revenue_reversal', 'revenue_reinstatement'], r.stripe_id,
           CASE WHEN r.state IN ('failed', 'canceled') THEN 0
                ELSE -r.amount_cents::numeric * (p.amount_cents - p.tax_cents)
                     / p.amount_cents * 10000000 END,
           10000000
    FROM billing_planrefund r JOIN billing_subscriptionpayment p ON p.invoice_id = r.payment_id
    WHERE p.tax_cents IS NOT NULL
    UNION ALL
    SELECT 'invoice', ARRAY['subscription'], invoice_id,
           (amount_cents - tax_cents) * 10000000::bigint, 0
    FROM billing_subscriptionpayment WHERE tax_cents IS NOT NULL
),
cleared AS (
    SELECT side.kind, -nanos AS nanos,
           regexp_replace(side.reference, '^((du|re|dp)_[A-Za-z0-9]+):\d+$', '\1') AS reference
    FROM side JOIN account ON account.id = side.account AND account.kind = 'stripe_clearing'
),
line AS (
    SELECT u.request_id, (l->>1)::numeric AS quantity, (l->>2)::numeric AS rate,
           (l->>3)::numeric AS per, (l->>4)::numeric AS nanos,
           CASE WHEN jsonb_array_length(l) > 5 THEN (l->>5)::numeric ELSE 1000000 END AS factor
    FROM billing_usagerecord u, jsonb_array_elements(u.lines) AS l
),
-- What an upstream charges for an attempt, and each line of it.
attempt AS (
    SELECT u.request_id, u.created_at, a AS cost, (a->>'amount_nanos')::numeric AS nanos
    FROM billing_usagerecord u, jsonb_array_elements(u.cost_lines) AS a
),
cost_line AS (
    SELECT t.request_id, (l->>1)::numeric AS quantity, (l->>2)::numeric AS rate,
           (l->>3)::numeric AS per, (l->>4)::numeric AS nanos,
           CASE WHEN jsonb_array_length(l) > 5 THEN (l->>5)::numeric ELSE 1000000 END AS factor
    FROM attempt t, jsonb_array_elements(t.cost->'lines') AS l
)

SELECT 'balance' AS check, format('account %s: %s posted, its transfers come to %s', a.id,
                                  a.posted_nanos, coalesce(s.nanos, 0)) AS detail
FROM account a LEFT JOIN (SELECT account, sum(nanos) AS nanos FROM side GROUP BY account) s
     ON s.account = a.id
WHERE a.posted_nanos <> CASE a.kind WHEN 'customer' THEN coalesce(s.nanos, 0) ELSE 0 END
UNION ALL
SELECT 'balance', format('account %s: %s posted, %s held', id, posted_nanos, held_nanos)
FROM account WHERE posted_nanos < 0 OR held_nanos < 0 OR (kind = 'customer' AND held_nanos > posted_nanos)
UNION ALL
SELECT 'sides', format('transfer %s (%s): %s from %s to %s, customer %s, owner %s', t.id, t.kind,
                       t.amount_nanos, d.kind, c.kind, t.customer_id, t.owner_id)
FROM billing_transfer t
LEFT JOIN account d ON d.id = t.debit_account_id
LEFT JOIN account c ON c.id = t.credit_account_id
LEFT JOIN rule r ON r.kind = t.kind AND r.debit = d.kind AND r.credit = c.kind
WHERE r.kind IS NULL OR t.amount_nanos <= 0
   OR t.customer_id IS DISTINCT FROM CASE WHEN d.kind = 'customer' THEN d.id
                                          WHEN c.kind = 'customer' THEN c.id END
   OR (t.owner_id IS NOT NULL) <> (t.kind IN ('goodwill', 'receivable', 'goodwill_reversal',
                                              'receivable_reversal'))
UNION ALL
SELECT 'reference', format('%s %s is there %s times', kind, reference, count(*))
FROM billing_transfer GROUP BY kind, reference HAVING count(*) > 1
UNION ALL
SELECT 'sequence', format('account %s: %s transfers numbered %s to %s, the last is %s', a.id,
                          t.number, t.first, t.last, a.last_sequence)
FROM account a LEFT JOIN (
    SELECT customer_id, count(DISTINCT sequence) AS number, min(sequence) AS first,
           max(sequence) AS last, count(*) AS transfers
    FROM billing_transfer WHERE customer_id IS NOT NULL GROUP BY customer_id) t
    ON t.customer_id = a.id
WHERE (a.last_sequence, coalesce(t.number, 0), coalesce(t.transfers, 0))
      IS DISTINCT FROM (coalesce(t.last, 0), coalesce(t.last, 0), coalesce(t.last, 0))
UNION ALL
SELECT 'sequence', format('transfer %s: a balance of %s, by the transfers %s', id, balance_nanos, nanos)
FROM (
    SELECT t.id, t.balance_nanos, sum(CASE WHEN t.credit_account_id = t.customer_id
               THEN t.amount_nanos ELSE -t.amount_nanos END)
               OVER (PARTITION BY t.customer_id ORDER BY t.sequence, t.id) AS nanos
    FROM billing_transfer t WHERE t.customer_id IS NOT NULL) AS running
WHERE balance_nanos IS DISTINCT FROM nanos
UNION ALL
SELECT 'hold', format('account %s holds %s, its open reservations %s', a.id, a.held_nanos, r.nanos)
FROM account a LEFT JOIN (
    SELECT account_id, sum(amount_nanos) AS nanos FROM billing_reservation
    WHERE state = 'open' GROUP BY account_id) r ON r.account_id = a.id
WHERE a.held_nanos <> coalesce(r.nanos, 0)
UNION ALL
SELECT 'hold', format('key %s holds %s, its open reservations %s', coalesce(s.key_id, r.key_id),
                      s.held_nanos, r.nanos)
FROM billing_keyspend s FULL JOIN (
    SELECT key_id, sum(amount_nanos) AS nanos FROM billing_reservation
    WHERE state = 'open' GROUP BY key_id) r ON r.key_id = s.key_id
WHERE coalesce(s.held_nanos, 0) <> coalesce(r.nanos, 0)
UNION ALL
SELECT 'hold', format('budget row %s of account %s holds %s', s.id, s.account_id, s.held_nanos)
FROM billing_budgetspend s
WHERE s.held_nanos <> (SELECT coalesce(sum(r.amount_nanos), 0) FROM billing_reservation r
                       WHERE r.account_id = s.account_id AND r.state = 'open'
                         AND r.spend_ids @> ARRAY[s.id])
UNION ALL
SELECT 'calls', format('account %s: %s calls at once, %s of its open reservations are calls', a.id,
                       a.open_calls, (SELECT count(*) FROM billing_reservation r
                                      WHERE r.account_id = a.id AND r.state = 'open' AND r.is_call))
FROM account a
WHERE a.open_calls <> (SELECT count(*) FROM billing_reservation r
                       WHERE r.account_id = a.id AND r.state = 'open' AND r.is_call)
UNION ALL
SELECT 'end', format('reservation %s is %s, its record %s', r.id, r.state, u.outcome)
FROM billing_reservation r LEFT JOIN billing_usagerecord u ON u.request_id = r.id
WHERE (r.state = 'open') <> (u.request_id IS NULL)
   OR (u.request_id IS NOT NULL AND (u.account_id, u.key_id) <> (r.account_id, r.key_id))
UNION ALL
SELECT 'charge', format('request %s: %s charged and %s written off of %s, transfers %s and %s',
                        coalesce(u.request_id::text, t.reference), u.charged_nanos,
                        u.written_off_nanos, u.cost_nanos, t.charged, t.written_off)
FROM billing_usagerecord u FULL JOIN (
    SELECT reference, max(customer_id) AS customer,
           sum(amount_nanos) FILTER (WHERE kind = 'usage') AS charged,
           sum(amount_nanos) FILTER (WHERE kind = 'write_off') AS written_off
    FROM billing_transfer WHERE kind IN ('usage', 'write_off') GROUP BY reference) t
    ON t.reference = u.request_id::text
WHERE u.request_id IS NULL
   OR u.charged_nanos <> coalesce(t.charged, 0) OR u.written_off_nanos <> coalesce(t.written_off, 0)
   OR u.cost_nanos <> u.charged_nanos + u.written_off_nanos
   OR u.account_id <> coalesce(t.customer, u.account_id)
   OR u.cost_nanos <> u.input_nanos + u.cached_nanos + u.output_nanos + u.reasoning_nanos
                      + u.units_nanos
UNION ALL
-- What was estimated may be corrected once, by what the row says.
SELECT 'correction', format('%s: %s became %s, transfers of %s', coalesce('correction:' ||
                            c.request_id, t.reference), c.charged_nanos, c.corrected_nanos, t.nanos)
FROM billing_usagecorrection c
JOIN billing_usagerecord u ON u.request_id = c.request_id AND u.account_id = c.account_id
                           AND u.charged_nanos = c.charged_nanos AND u.source = 'estimated'
FULL JOIN (
    SELECT reference, sum(nanos) AS nanos FROM side JOIN account a ON a.id = side.account
    WHERE a.kind = 'customer' AND side.kind = 'adjustment' AND reference LIKE 'correction:%'
    GROUP BY reference) t ON t.reference = 'correction:' || c.request_id
WHERE (c.charged_nanos - c.corrected_nanos = t.nanos) IS NOT TRUE
UNION ALL
SELECT 'line', format('request %s: %s × %s × %s millionths / %s is not %s', request_id, quantity, rate,
                      factor, per, nanos)
FROM line
-- Half up: what it comes to lies in [nanos - 1/2, nanos + 1/2). No division, so nothing is lost.
WHERE (quantity >= 0 AND rate >= 0 AND factor > 0 AND per > 0
       AND 2 * quantity * rate * factor >= (2 * nanos - 1) * per * 1000000
       AND 2 * quantity * rate * factor < (2 * nanos + 1) * per * 1000000) IS NOT TRUE
UNION ALL
SELECT 'line', format('request %s: lines of %s, cost %s', u.request_id, sum(l.nanos), u.cost_nanos)
FROM billing_usagerecord u JOIN line l ON l.request_id = u.request_id
GROUP BY u.request_id, u.cost_nanos HAVING sum(l.nanos) IS DISTINCT FROM u.cost_nanos
UNION ALL
SELECT 'cost', format('request %s: %s × %s × %s millionths / %s is not %s', request_id, quantity, rate,
                      factor, per, nanos)
FROM cost_line
WHERE (quantity >= 0 AND rate >= 0 AND factor > 0 AND per > 0
       AND 2 * quantity * rate * factor >= (2 * nanos - 1) * per * 1000000
       AND 2 * quantity * rate * factor < (2 * nanos + 1) * per * 1000000) IS NOT TRUE
UNION ALL
SELECT 'cost', format('request %s: %s by its record, %s by attempts, %s by lines', u.request_id,
                      u.upstream_cost_nanos, t.nanos, coalesce(l.nanos, 0))
FROM billing_usagerecord u
JOIN (SELECT request_id, sum(nanos) AS nanos FROM attempt GROUP BY 1) t USING (request_id)
LEFT JOIN (SELECT request_id, sum(nanos) AS nanos FROM cost_line GROUP BY 1) l USING (request_id)
WHERE (u.upstream_cost_nanos = t.nanos AND t.nanos = coalesce(l.nanos, 0)) IS NOT TRUE
UNION ALL
-- Its version exists, and had begun.
SELECT 'cost', format('request %s: version %s of a cost', t.request_id, t.cost->>'route_cost')
FROM attempt t
WHERE NOT EXISTS (SELECT FROM api_routecost c
                  WHERE c.id::text = t.cost->>'route_cost'
                    AND c.effective_from <= t.created_at + interval '1 minute')
UNION ALL
SELECT 'budget', format('budget row %s of account %s: %s spent', s.id, s.account_id, s.spent_nanos)
FROM billing_budgetspend s
WHERE s.spent_nanos <> s.carried_nanos + (
    SELECT coalesce(sum(u.charged_nanos), 0) FROM billing_usagerecord u
    WHERE u.account_id = s.account_id AND u.spend_ids @> ARRAY[s.id])
UNION ALL
SELECT 'budget', format('key %s: %s spent, records of %s', s.key_id, s.total_nanos, u.nanos)
FROM billing_keyspend s LEFT JOIN (
    SELECT key_id, sum(charged_nanos) AS nanos FROM billing_usagerecord GROUP BY key_id) u
    ON u.key_id = s.key_id
WHERE s.total_nanos <> coalesce(u.nanos, 0) + s.carried_total_nanos
   OR s.carried_total_nanos > (
       SELECT coalesce(sum(old.total_nanos), 0) FROM accounts_apikey k
       JOIN billing_keyspend old ON old.key_id = k.replaces_id WHERE k.id = s.key_id)
   OR s.month_nanos - CASE WHEN to_char(s.carried_on, 'YYYY-MM') = to_char(s.month, 'YYYY-MM')
                           THEN s.carried_month_nanos ELSE 0 END
      <> (SELECT coalesce(sum(charged_nanos), 0) FROM billing_usagerecord r
                        WHERE r.key_id = s.key_id
                          AND to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM')
                              = to_char(s.month, 'YYYY-MM'))
   OR s.day_nanos - CASE WHEN s.carried_on = s.day THEN s.carried_day_nanos ELSE 0 END
      <> (SELECT coalesce(sum(charged_nanos), 0) FROM billing_usagerecord r
                      WHERE r.key_id = s.key_id
                        AND to_char(r.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                            = to_char(s.day, 'YYYY-MM-DD'))
UNION ALL
SELECT 'lot', detail FROM pg_temp.audit_lots()
UNION ALL
SELECT 'lot', format('lot %s: %s given, %s left, %s expired (%s by transfers)', l.transfer_id,
                     l.amount_nanos, l.remaining_nanos, l.expired_nanos, e.nanos)
FROM billing_creditlot l
LEFT JOIN billing_transfer t ON t.id = l.transfer_id
LEFT JOIN (SELECT split_part(reference, ':', 1) AS lot, sum(amount_nanos) AS nanos
           FROM billing_transfer WHERE kind = 'expiry' GROUP BY 1) e ON e.lot = l.transfer_id::text
WHERE t.id IS NULL OR l.account_id <> t.credit_account_id
   OR l.expired_nanos <> coalesce(e.nanos, 0)
   OR l.is_paid <> (t.kind = 'top_up' OR (l.is_paid AND t.kind LIKE '%\_reversal'))
   OR (t.kind NOT LIKE '%\_reversal' AND l.amount_nanos <> t.amount_nanos)
UNION ALL
SELECT 'lot', format('transfer %s gave %s, lots got %s', t.id, t.amount_nanos, l.nanos)
FROM billing_transfer t JOIN account a ON a.id = t.credit_account_id AND a.kind = 'customer'
LEFT JOIN (SELECT transfer_id, sum(nanos) AS nanos FROM (
        SELECT transfer_id, amount_nanos AS nanos FROM billing_creditlot
        UNION ALL SELECT transfer_id, amount_nanos FROM billing_lotmovement) AS got
    GROUP BY transfer_id) l ON l.transfer_id = t.id
WHERE l.nanos IS DISTINCT FROM t.amount_nanos
UNION ALL
SELECT 'lot', format('transfer %s took %s, lots gave %s', m.transfer_id, t.amount_nanos, m.nanos)
FROM (SELECT transfer_id, -sum(amount_nanos) AS nanos FROM billing_lotmovement
      GROUP BY transfer_id HAVING sum(amount_nanos) < 0) m
LEFT JOIN billing_transfer t ON t.id = m.transfer_id
WHERE t.amount_nanos IS DISTINCT FROM m.nanos
UNION ALL
SELECT 'reversal', format('%s: %s refunded, %s back; %s clawed back, %s back; %s owed, %s ended; '
                          'revenue %s out, %s back', reference, refunded, unrefunded, clawed_back,
                          restored, missing, ended, revenue_out, revenue_in)
FROM event
WHERE coalesce(unrefunded, 0) > coalesce(refunded, 0)
   OR coalesce(restored, 0) > coalesce(clawed_back, 0)
   OR coalesce(ended, 0) > coalesce(missing, 0)
   OR coalesce(revenue_in, 0) > coalesce(revenue_out, 0)
UNION ALL
SELECT 'stripe', format('%s %s: %s by its row, %s in the ledger', s.what, s.reference, s.nanos,
                        coalesce(c.nanos, 0))
FROM stripe s LEFT JOIN LATERAL (
    SELECT sum(nanos) AS nanos FROM cleared
    WHERE cleared.reference = s.reference AND cleared.kind = ANY (s.kinds)) c ON true
WHERE abs(s.nanos - coalesce(c.nanos, 0)) > s.slack
UNION ALL
SELECT 'stripe', format('%s %s moved %s, and no row says why', kind, reference, nanos)
FROM cleared
WHERE NOT EXISTS (SELECT FROM stripe s
                  WHERE s.reference = cleared.reference AND cleared.kind = ANY (s.kinds))
  AND NOT EXISTS (SELECT FROM billing_subscriptionpayment p
                  LEFT JOIN billing_planrefund r ON r.payment_id = p.invoice_id
                  WHERE p.tax_cents IS NULL AND cleared.reference IN (p.invoice_id, r.stripe_id))
ORDER BY 1, 2;
