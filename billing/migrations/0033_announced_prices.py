"""A price to come can be announced to the teams that use its model."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0032_costs_leave_prices")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="priceversion",
                    name="announces",
                    field=models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Before it applies: email the teams that used the model in the last "
                            "30 days, and show the change in their dashboards."
                        ),
                        verbose_name="announce",
                    ),
                ),
            ]
        ),
    ]
