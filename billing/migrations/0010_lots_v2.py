"""What is given back is drawn from a credit named by kind and reference."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0009_checks_v1")]
    operations = [InstallFunctions("lots", 2)]
