"""Adds the checks that functions make of each other's results."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_shortfall_owner")]
    operations = [InstallFunctions("checks", 1)]
