"""What is undone returns to the lots that it was drawn from, whole or in parts."""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0022_lot_movements")]
    operations = [InstallFunctions("lots", 3), InstallFunctions("give_back", 3)]
