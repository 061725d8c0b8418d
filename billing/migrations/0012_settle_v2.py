"""Settles rows of processes of other releases; checks what it writes."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_give_back_v2")]
    operations = [InstallFunctions("settle", 2)]
