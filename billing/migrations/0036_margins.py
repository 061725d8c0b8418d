"""Margins by day, team, model and upstream."""

import django.db.models.deletion
from django.db import migrations, models

from billing.ledger.install import InstallFunctions, WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0035_contract_prices")]
    operations = [
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="MarginDay",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
                            ),
                        ),
                        ("day", models.DateField()),
                        ("model", models.CharField(max_length=120)),
                        ("upstream", models.CharField(blank=True, max_length=80)),
                        ("requests", models.BigIntegerField(default=0)),
                        ("errors", models.BigIntegerField(default=0)),
                        ("input_tokens", models.BigIntegerField(default=0)),
                        ("output_tokens", models.BigIntegerField(default=0)),
                        ("charged_nanos", models.BigIntegerField(default=0)),
                        ("upstream_cost_nanos", models.BigIntegerField(default=0)),
                        (
                            "account",
                            models.ForeignKey(
                                db_index=False,
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="+",
                                to="billing.creditaccount",
                            ),
                        ),
                    ],
                    options={
                        "indexes": [
                            models.Index(fields=["model", "day"], name="marginday_by_model")
                        ],
                        "permissions": [("view_margins", "Can see margins by customer")],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("day", "account", "model", "upstream"),
                                name="marginday_once",
                            )
                        ],
                    },
                ),
            ]
        ),
        InstallFunctions("margins", 1),
    ]
