"""Usage records keep the client's session."""

from django.db import migrations, models

from billing.ledger.install import InstallFunctions, WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0038_extend")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="usagerecord",
                    name="session_id",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The client's id of its session, such as a coding agent's run.",
                        max_length=128,
                    ),
                ),
            ]
        ),
        InstallFunctions("settle", 5),
    ]
