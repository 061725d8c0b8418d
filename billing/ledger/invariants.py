"""Invariants of the ledger, each with a query that lists its violations."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction

from billing.ledger.charge_invariants import CHARGE_INVARIANTS
from billing.pricing.components import COMPONENTS, Component
from billing.receipts import invariant as day_roots

EXAMPLES = 5


@dataclass(frozen=True)
class Invariant:
    """A rule and the query that returns one row of text for each violation of it."""

    name: str
    rule: str
    violations: str


@dataclass(frozen=True)
class Finding:
    """The result of one invariant's check: how many violations, and the first of them."""

    invariant: Invariant
    count: int
    examples: list[str]


INVARIANTS = [
    Invariant(
        "I1",
        "every transfer moves a positive amount between two accounts, and names its customer",
        """
        SELECT format('transfer %s', t.id) FROM billing_transfer t
        LEFT JOIN billing_creditaccount d ON d.id = t.debit_account_id
        LEFT JOIN billing_creditaccount c ON c.id = t.credit_account_id
        WHERE t.amount_nanos <= 0 OR t.debit_account_id = t.credit_account_id
           OR d.id IS NULL OR c.id IS NULL OR (d.kind = 'customer' AND c.kind = 'customer')
           OR t.customer_id IS DISTINCT FROM CASE 'customer' WHEN d.kind THEN d.id
                                                             WHEN c.kind THEN c.id END
        """,
    ),
    Invariant(
        "I1 shortfalls",
        "a shortfall, and the end of one, names the customer whose it is; no other transfer does",
        """
        SELECT format('transfer %s of kind %s: owner %s', t.id, t.kind, t.owner_id)
        FROM billing_transfer t
        LEFT JOIN billing_creditaccount a ON a.id = t.owner_id AND a.kind = 'customer'
        WHERE (t.kind IN ('goodwill', 'goodwill_reversal', 'receivable', 'receivable_reversal'))
              <> (a.id IS NOT NULL)
        """,
    ),
    Invariant(
        "I2 posted",
        "a customer's posted balance is the sum of the transfers",
        """
        SELECT format('account %s: posted %s, transfers %s', a.id, a.posted_nanos, t.sum)
        FROM billing_creditaccount a
        LEFT JOIN LATERAL (
            SELECT coalesce(sum(CASE WHEN credit_account_id = a.id THEN amount_nanos
                                     ELSE -amount_nanos END), 0) AS sum
            FROM billing_transfer WHERE customer_id = a.id) AS t ON true
        WHERE a.kind = 'customer' AND a.posted_nanos <> t.sum
        """,
    ),
    Invariant(
        "I2 held",
        "what is held is the sum of the open reservations, by account, by key and by budget",
        """
        WITH holds AS (
            SELECT account_id, key_id, sum(amount_nanos) AS sum
            FROM billing_reservation WHERE state = 'open' GROUP BY account_id, key_id)
        SELECT format('account %s: held %s, reservations %s', a.id, a.held_nanos, h.sum)
        FROM billing_creditaccount a
        LEFT JOIN (SELECT account_id, sum(sum) AS sum FROM holds GROUP BY account_id) AS h
               ON h.account_id = a.id
        WHERE a.held_nanos <> coalesce(h.sum, 0)
        UNION ALL
        SELECT format('key %s: held %s, reservations %s', s.key_id, s.held_nanos, h.sum)
        FROM billing_keyspend s LEFT JOIN holds h ON h.key_id = s.key_id
        WHERE s.held_nanos <> coalesce(h.sum, 0)
        UNION ALL
        SELECT format('budget row %s: held %s, reservations %s', s.id, s.held_nanos, b.sum)
        FROM billing_budgetspend s FULL JOIN (
            SELECT u.spend_id, sum(r.amount_nanos) AS sum FROM billing_reservation r
            CROSS JOIN LATERAL unnest(r.spend_ids) AS u(spend_id)
            WHERE r.state = 'open' GROUP BY u.spend_id) AS b ON b.spend_id = s.id
        WHERE coalesce(s.held_nanos, 0) <> coalesce(b.sum, 0)
        """,
    ),
    Invariant(
        "I2 calls",
        "an account's calls at once are its open reservations that were counted as calls",
        """
        SELECT format('account %s: %s open calls, reservations %s', a.id, a.open_calls, r.count)
        FROM billing_creditaccount a
        LEFT JOIN (SELECT account_id, count(*) FROM billing_reservation
                   WHERE state = 'open' AND is_call GROUP BY account_id) AS r
               ON r.account_id = a.id
        WHERE a.open_calls <> coalesce(r.count, 0)
        """,
    ),
    Invariant(
        "I2 lots",
        "every credit of a customer has its lot or returned to those it was drawn from, and the "
        "lots left cover the balance",
        """
        WITH moved AS (
            SELECT transfer_id, sum(amount_nanos) AS nanos FROM billing_lotmovement
            GROUP BY transfer_id)
        SELECT format('transfer %s of account %s: %s given, lot of %s, %s returned to lots', t.id,
                      t.customer_id, t.amount_nanos, l.amount_nanos, m.nanos)
        FROM billing_transfer t FULL JOIN billing_creditlot l ON l.transfer_id = t.id
        LEFT JOIN moved m ON m.transfer_id = t.id
        WHERE (t.customer_id = t.credit_account_id OR l.transfer_id IS NOT NULL)
          AND (coalesce(l.amount_nanos, 0) + coalesce(m.nanos, 0) IS DISTINCT FROM t.amount_nanos
               OR coalesce(l.account_id, t.credit_account_id) IS DISTINCT FROM t.credit_account_id)
        UNION ALL
        SELECT format('account %s: posted %s, lots %s', a.id, a.posted_nanos, l.sum)
        FROM billing_creditaccount a
        LEFT JOIN (SELECT account_id, sum(remaining_nanos) AS sum FROM billing_creditlot
                   GROUP BY account_id) AS l ON l.account_id = a.id
        WHERE a.posted_nanos > coalesce(l.sum, 0)
        """,
    ),
    Invariant(
        "I2 draws",
        "what a transfer drew from lots is what it took; a lot lacks at least what was drawn of it "
        "and not returned",
        """
        SELECT format('transfer %s of kind %s: %s taken, %s drawn from lots', m.transfer_id,
                      t.kind, t.amount_nanos, m.nanos)
        FROM (SELECT transfer_id, -sum(amount_nanos) AS nanos FROM billing_lotmovement
              GROUP BY transfer_id) AS m
        LEFT JOIN billing_transfer t ON t.id = m.transfer_id
        WHERE t.id IS NULL
           OR (t.debit_account_id = t.customer_id AND m.nanos <> t.amount_nanos)
        UNION ALL
        SELECT format('lot %s: %s drawn and not returned, %s of %s left', m.lot_id, m.nanos,
                      l.remaining_nanos, l.amount_nanos)
        FROM (SELECT v.lot_id, -sum(v.amount_nanos) AS nanos,
                     bool_and(t.customer_id IS NOT DISTINCT FROM l.account_id) AS is_own
              FROM billing_lotmovement v LEFT JOIN billing_transfer t ON t.id = v.transfer_id
              LEFT JOIN billing_creditlot l ON l.transfer_id = v.lot_id
              GROUP BY v.lot_id) AS m
        LEFT JOIN billing_creditlot l ON l.transfer_id = m.lot_id
        WHERE l.transfer_id IS NULL OR m.nanos < 0 OR NOT m.is_own
           OR m.nanos > l.amount_nanos - l.remaining_nanos - l.expired_nanos
        """,
    ),
    Invariant(
        "I3",
        "no customer's posted, held or available balance is negative",
        """
        SELECT format('account %s: posted %s, held %s', id, posted_nanos, held_nanos)
        FROM billing_creditaccount
        WHERE held_nanos < 0 OR (kind = 'customer' AND posted_nanos < held_nanos)
        """,
    ),
    Invariant(
        "I4 charged",
        "a request is charged once, what its usage record says, and no cost is left unbooked",
        """
        SELECT format('request %s of account %s: record %s + %s = %s, transfers %s + %s of %s',
                      u.request_id, u.account_id, u.charged_nanos, u.written_off_nanos,
                      u.cost_nanos, c.amount_nanos, w.amount_nanos, c.customer_id)
        FROM billing_usagerecord u
        LEFT JOIN billing_transfer c
               ON c.kind = 'usage' AND c.reference = u.request_id::text
        LEFT JOIN billing_transfer w
               ON w.kind = 'write_off' AND w.reference = u.request_id::text
        WHERE u.charged_nanos <> coalesce(c.amount_nanos, 0)
           OR u.written_off_nanos <> coalesce(w.amount_nanos, 0)
           OR u.cost_nanos <> u.charged_nanos + u.written_off_nanos
           OR c.customer_id <> u.account_id
        UNION ALL
        SELECT format('transfer %s has no usage record', t.id) FROM billing_transfer t
        LEFT JOIN billing_usagerecord u ON u.request_id::text = t.reference
        WHERE t.kind IN ('usage', 'write_off') AND u.request_id IS NULL
        """,
    ),
    *(Invariant(*each) for each in CHARGE_INVARIANTS),
    Invariant(
        "I4 spent",
        "what a key has spent of its budgets is what its usage records charge, and what it took "
        "over from the key that it replaced",
        """
        SELECT format('key %s: %s today, %s this month, %s in all; records %s',
                      s.key_id, s.day_nanos, s.month_nanos, s.total_nanos, sum(u.charged_nanos))
        FROM billing_keyspend s LEFT JOIN billing_usagerecord u ON u.key_id = s.key_id
        GROUP BY s.key_id
        HAVING s.total_nanos - s.carried_total_nanos <> coalesce(sum(u.charged_nanos), 0)
            OR s.day_nanos - CASE WHEN s.carried_on = s.day THEN s.carried_day_nanos ELSE 0 END
               <> coalesce(sum(u.charged_nanos) FILTER (
                   WHERE (u.created_at AT TIME ZONE 'UTC')::date = s.day), 0)
            OR s.month_nanos - CASE WHEN date_trunc('month', s.carried_on) = s.month
                                    THEN s.carried_month_nanos ELSE 0 END
               <> coalesce(sum(u.charged_nanos) FILTER (
                   WHERE date_trunc('month', u.created_at AT TIME ZONE 'UTC') = s.month), 0)
        """,
    ),
    Invariant(
        "I4 budgets",
        "what was spent of a budget's row is what the records charge that count in it, and what "
        "was spent before it was made; no record counts in another account's",
        """
        SELECT format('budget row %s: %s spent, %s of it before, records %s of accounts %s',
                      s.id, s.spent_nanos, s.carried_nanos, r.sum, r.accounts)
        FROM billing_budgetspend s FULL JOIN (
            SELECT c.spend_id, sum(u.charged_nanos) AS sum,
                   array_agg(DISTINCT u.account_id) AS accounts
            FROM billing_usagerecord u CROSS JOIN LATERAL unnest(u.spend_ids) AS c(spend_id)
            GROUP BY c.spend_id) AS r ON r.spend_id = s.id
        WHERE s.spent_nanos - s.carried_nanos IS DISTINCT FROM coalesce(r.sum, 0)
           OR r.accounts <> ARRAY[s.account_id]
        """,
    ),
    Invariant(
        "I4 corrections",
        "a corrected estimate has the transfer of the difference, and is within what was held",
        """
        SELECT format('%s: corrected from %s to %s, transfer %s of %s', c.request_id,
                      c.charged_nanos, c.corrected_nanos, t.reference, t.amount_nanos)
        FROM billing_usagecorrection c LEFT JOIN billing_usagerecord u USING (request_id)
        FULL JOIN (SELECT * FROM billing_transfer WHERE kind = 'adjustment'
                   AND reference LIKE 'correction:%') t ON t.reference = 'correction:' || request_id
        WHERE (u.source = 'estimated' AND c.charged_nanos = u.charged_nanos
               AND u.account_id = c.account_id AND u.account_id = t.customer_id
               AND c.corrected_nanos = u.charged_nanos + t.amount_nanos
                   * CASE WHEN t.credit_account_id = t.customer_id THEN -1 ELSE 1 END
               AND c.corrected_nanos <= greatest(u.charged_nanos, u.reserved_nanos)) IS NOT true
        """,
    ),
    Invariant(
        "I4 ended",
        "every ended reservation has its usage record, and an open one has none",
        """
        SELECT format('reservation %s is %s', r.id, r.state) FROM billing_reservation r
        LEFT JOIN billing_usagerecord u ON u.request_id = r.id
        WHERE (r.state = 'open') = (u.request_id IS NOT NULL)
        """,
    ),
    Invariant(
        "I5",
        "no reservation is open past its expiry, or its lease's end, and two periods of the sweep",
        """
        SELECT format('reservation %s expired at %s, its lease ended at %s',
                      r.id, r.expires_at, l.ended_at)
        FROM billing_reservation r LEFT JOIN billing_processlease l ON l.id = r.lease_id
        WHERE r.state = 'open'
          AND (r.expires_at < now() - make_interval(secs => 2 * {sweep_seconds})
               OR (r.created_at < l.ended_at
                   AND l.ended_at < now() - make_interval(secs => 2 * {sweep_seconds})))
        """,
    ),
    Invariant(
        "I5 lots",
        "no promotional lot is left two sweep periods after its expiry, except what requests hold",
        """
        SELECT format('lot %s of account %s expired at %s: %s left', l.transfer_id, l.account_id,
                      l.expires_at, n.left_nanos)
        FROM billing_creditlot l JOIN billing_creditaccount a ON a.id = l.account_id
        CROSS JOIN LATERAL billing_lots_left(l.account_id) AS n
        WHERE l.remaining_nanos > 0 AND n.transfer_id = l.transfer_id AND n.left_nanos > 0
          AND greatest(l.expires_at, (  -- what returned after its expiry is taken by the next sweep
                  SELECT max(t.created_at) FROM billing_lotmovement m
                  JOIN billing_transfer t ON t.id = m.transfer_id
                  WHERE m.lot_id = l.transfer_id AND m.amount_nanos > 0))
              < now() - make_interval(secs => 2 * {sweep_seconds})
          AND l.expires_at < now()
          AND a.posted_nanos > a.held_nanos
        """,
    ),
    Invariant(
        "I8",
        "a customer's transfers are numbered without a gap, each balance following from the last",
        """
        SELECT format('transfer %s of account %s: sequence %s, balance %s', id, customer_id,
                      sequence, balance_nanos)
        FROM (
            SELECT *, CASE WHEN credit_account_id = customer_id THEN amount_nanos
                           ELSE -amount_nanos END AS change,
                   lag(sequence, 1, 0::bigint) OVER own AS last_sequence,
                   lag(balance_nanos, 1, 0::bigint) OVER own AS last_balance
            FROM billing_transfer WHERE customer_id IS NOT NULL
            WINDOW own AS (PARTITION BY customer_id ORDER BY sequence)) AS t
        WHERE sequence <> last_sequence + 1 OR balance_nanos <> last_balance + change
        UNION ALL
        SELECT format('account %s: last sequence %s, transfers %s', a.id, a.last_sequence, t.max)
        FROM billing_creditaccount a
        LEFT JOIN (SELECT customer_id, max(sequence) AS max FROM billing_transfer
                   GROUP BY customer_id) AS t ON t.customer_id = a.id
        WHERE a.last_sequence <> coalesce(t.max, 0)
        """,
    ),
]


def check() -> list[Finding]:
    """Check every invariant in one snapshot of the database, and return the findings."""
    is_outermost = not connection.in_atomic_block
    findings = []
    with transaction.atomic(), connection.cursor() as cursor:
        if is_outermost:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        tables = {
            "{sweep_seconds}": str(float(settings.SWEEP_SECONDS)),
            "{components}": _values((each.name, each.summary) for each in COMPONENTS.values()),
            "{rates}": _values(map(_rate, COMPONENTS.values())),
        }
        for invariant in INVARIANTS:
            violations = invariant.violations
            for name, text in tables.items():
                violations = violations.replace(name, text)
            cursor.execute(violations)
            rows = cursor.fetchall()
            findings.append(Finding(invariant, len(rows), [row[0] for row in rows[:EXAMPLES]]))
        # A Merkle tree is no query.
        broken = list(day_roots.violations())
        roots = Invariant(day_roots.NAME, day_roots.RULE, "")
        findings.append(Finding(roots, len(broken), broken[:EXAMPLES]))
    return findings


def _rate(component: Component) -> tuple[str, str, int, str, str]:
    """Return where a component's rate is stored: in which column, or under its name."""
    whole = COMPONENTS[component.part_of].rate_column if component.part_of else ""
    own = component.rate_column if component.field else component.name
    return component.name, component.part_of, component.per, own, whole if component.field else ""


def _values(rows: Iterable[tuple[str | int, ...]]) -> str:
    """Return rows of constants as SQL. Not for values from outside: nothing is escaped."""
    return ", ".join(f"({', '.join(map(repr, row))})" for row in rows)
