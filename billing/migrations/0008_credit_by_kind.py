"""Has refunds and claw-backs name the credit that they take back by kind and reference."""

from django.db import migrations

from billing.ledger.install import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_payments")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
