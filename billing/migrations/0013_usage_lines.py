"""Adds the lines of a request's charge."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_extra_rates")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="usagerecord",
                    name="lines",
                    field=models.JSONField(
                        db_default=models.Value([], models.JSONField()),
                        default=list,
                        help_text="[component, quantity, rate_nanos, per, amount_nanos] of each; none in old rows.",
                    ),
                )
            ]
        )
    ]
