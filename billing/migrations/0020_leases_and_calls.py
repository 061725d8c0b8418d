"""Hold credits under the process's lease, and count a team's calls at once.

All at once: what the new admission counts, only the new settlement and sweep take off again.
"""

from django.db import migrations

from billing.ledger.install import InstallFunctions


class Migration(migrations.Migration):
    dependencies = [("billing", "0019_process_leases"), ("accounts", "0008_team_limits")]
    operations = [
        InstallFunctions("lease", 1),
        InstallFunctions("settle", 3),
        InstallFunctions("sweep", 2),
        InstallFunctions("admit", 3),
    ]
