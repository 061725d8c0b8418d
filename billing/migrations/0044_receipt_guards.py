"""Day roots are never changed."""

from django.db import migrations

from billing.ledger.install import InstallFunctions, WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0043_receipts")]
    operations = [WithLockTimeout([InstallFunctions("receipts", 1)])]
