"""Count requests against budgets.

All at once: what the new admission counts, only the new settlement and sweep take off again.
"""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0041_budgets")]
    operations = [
        InstallFunctions("budgets", 1),
        InstallFunctions("carry", 2),
        InstallFunctions("settle", 6),
        InstallFunctions("sweep", 3),
        InstallFunctions("extend", 2),
        InstallFunctions("admit", 4),
    ]
