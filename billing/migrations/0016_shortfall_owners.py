"""Set the owner of earlier releases' shortfalls, from the end of their memo.

Transfers never change otherwise, so the guard is put aside for it, under the table's lock.
"""

from django.db import migrations

from billing.ledger.install import WaitForEarlierTransactions, WithLockTimeout

OWNERS = """
ALTER TABLE billing_transfer DISABLE TRIGGER transfer_append_only;
UPDATE billing_transfer t SET owner_id = a.id
FROM billing_creditaccount a
WHERE t.kind IN ('goodwill', 'goodwill_reversal', 'receivable', 'receivable_reversal')
  AND t.owner_id IS NULL AND a.kind = 'customer'
  AND a.id = substring(t.memo FROM '\\(account (\\d+)\\)$')::bigint;
ALTER TABLE billing_transfer ENABLE TRIGGER transfer_append_only;
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0015_admit_v2")]
    operations = [
        WaitForEarlierTransactions(),
        WithLockTimeout([migrations.RunSQL([(OWNERS, None)], migrations.RunSQL.noop)]),
    ]
