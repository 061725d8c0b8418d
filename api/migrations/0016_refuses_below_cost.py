"""The service can refuse to sell below cost."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("api", "0015_route_costs_of_prices")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="service",
                    name="refuses_below_cost",
                    field=models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Don't use routes that cost more than the model's price; without "
                            "another, the model is offline. Either way, staff are alerted."
                        ),
                        verbose_name="refuses to sell below cost",
                    ),
                ),
            ]
        ),
    ]
