"""A rotated key's successor goes on with what was spent of its budgets."""

from django.db import migrations, models

from billing.ledger.install import InstallFunctions, WithLockTimeout

HELP = "Of the key that this one replaced."


class Migration(migrations.Migration):
    dependencies = [("billing", "0025_promotions")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="keyspend",
                    name="carried_on",
                    field=models.DateField(help_text="When the key was rotated.", null=True),
                ),
                *(
                    migrations.AddField(
                        model_name="keyspend",
                        name=f"carried_{span}_nanos",
                        field=models.BigIntegerField(db_default=0, default=0, help_text=HELP),
                    )
                    for span in ("day", "month", "total")
                ),
            ]
        ),
        InstallFunctions("carry", 1),
    ]
