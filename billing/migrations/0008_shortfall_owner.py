"""Adds the column that says whose shortfall a transfer is."""

import django.db.models.deletion
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_payments")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="transfer",
                    name="owner",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="The customer whose shortfall it is, where none is among the two accounts.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="shortfalls",
                        to="billing.creditaccount",
                    ),
                )
            ]
        )
    ]
