"""Shortfalls have their owner in a column; refunds name their credit by kind and reference."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0010_lots_v2")]
    operations = [InstallFunctions("give_back", 2)]
