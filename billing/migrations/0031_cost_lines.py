"""Usage records keep what each upstream charges us, line by line, and which request they retry."""

from django.db import migrations, models

from billing.ledger.install import InstallFunctions, WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0030_overview")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="usagerecord",
                    name="cost_lines",
                    field=models.JSONField(
                        db_default=models.Value([], models.JSONField()),
                        default=list,
                        help_text=(
                            "What each upstream charges us: upstream, route_cost (the version of "
                            "the route's cost), amount_nanos, and lines as above. None in old "
                            "rows, and where no cost is known."
                        ),
                    ),
                ),
            ]
        ),
        InstallFunctions("settle", 4),
    ]
