"""Admits rows of processes of other releases; checks what it writes."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0014_settle_v2")]
    operations = [InstallFunctions("admit", 2)]
