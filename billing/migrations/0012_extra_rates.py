"""Adds the rates of components without columns of their own."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


def rates(name, **options):
    return migrations.AddField(
        model_name="priceversion",
        name=name,
        field=models.JSONField(
            blank=True,
            db_default=models.Value({}, models.JSONField()),
            default=dict,
            **options,
        ),
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0011_give_back_v2")]
    operations = [
        WithLockTimeout(
            [
                rates("extra_rates", help_text="Of the components without columns, by name."),
                rates("extra_cost_rates"),
            ]
        )
    ]
