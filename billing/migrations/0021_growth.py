"""Count what answers grow beyond what was counted for them at their admission."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0020_leases_and_calls")]
    operations = [InstallFunctions("growth", 1)]
