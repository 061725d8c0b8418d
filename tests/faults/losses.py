"""What customers or the service lost, reckoned from the tables and the upstream's journal."""

from tests.stack import Stack

# What customers' balances differ by from their transfers.
BALANCES = """
SELECT coalesce(sum(abs(a.posted_nanos - coalesce(t.nanos, 0))), 0)::bigint
FROM billing_creditaccount a LEFT JOIN (
    SELECT account, sum(nanos) AS nanos FROM (
        SELECT credit_account_id AS account, amount_nanos AS nanos FROM billing_transfer
        UNION ALL
        SELECT debit_account_id, -amount_nanos FROM billing_transfer
    ) AS side GROUP BY account
) t ON t.account = a.id WHERE a.kind = 'customer'
"""
# What the service wrote off, as no credit covered it.
WRITTEN_OFF = """
SELECT coalesce(sum(amount_nanos), 0)::bigint FROM billing_transfer WHERE kind = 'write_off'
"""


def lost_nanos(stack: Stack) -> int:
    """Return the nano-dollars that went amiss since the stack began: customers' balances that are
    not their transfers, charges for calls that no upstream got, write-offs.
    """
    called = {call["request_id"].replace("-", "") for call in stack.journal()}
    ((unexplained,),) = stack.sql(BALANCES)
    ((written_off,),) = stack.sql(WRITTEN_OFF)
    charged = stack.sql(
        "SELECT replace(request_id::text, '-', ''), charged_nanos FROM billing_usagerecord"
        " WHERE charged_nanos > 0"
    )
    for_nothing = sum(nanos for request_id, nanos in charged if request_id not in called)
    return int(unexplained + written_off + for_nothing)
