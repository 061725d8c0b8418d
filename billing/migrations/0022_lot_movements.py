"""Which lots a refund, a claw-back or a collection drew, and what returned to them."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0021_growth")]
    operations = [
        migrations.CreateModel(
            name="LotMovement",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("amount_nanos", models.BigIntegerField()),
                (
                    "transfer",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="lot_movements",
                        to="billing.transfer",
                    ),
                ),
                (
                    "lot",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="movements",
                        to="billing.creditlot",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("amount_nanos", 0), _negated=True),
                        name="lot_movement_of_an_amount",
                    ),
                    models.UniqueConstraint(
                        fields=("transfer", "lot"), name="lot_movement_once"
                    ),
                ]
            },
        )
    ]
