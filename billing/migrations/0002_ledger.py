"""Opens the platform's own accounts. (The ledger's functions come with 0007.)"""

from django.db import migrations

SEED = """
INSERT INTO billing_catalogueversion (id, version) VALUES (1, 1) ON CONFLICT DO NOTHING;
INSERT INTO billing_creditaccount
    (kind, posted_nanos, held_nanos, last_sequence, created_at)
SELECT kind, 0, 0, 0, now()
FROM unnest(ARRAY['revenue', 'stripe_clearing', 'promotional_grants', 'adjustments', 'write_off',
                  'receivable']) AS kind
ON CONFLICT DO NOTHING;
"""


def seed(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(SEED)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]
    operations = [
        migrations.RunPython(seed, migrations.RunPython.noop),
    ]
