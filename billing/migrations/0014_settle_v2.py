"""Settles rows of processes of other releases; checks what it writes."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0013_usage_lines")]
    operations = [InstallFunctions("settle", 2)]
