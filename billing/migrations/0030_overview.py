"""Add the sums of the staff's overview, and when periodic tasks last ran."""

import django.db.models.deletion
from django.db import migrations, models

from billing.ledger.install import InstallFunctions, WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0029_manual_postings"),
    ]

    operations = [
        migrations.CreateModel(
            name="TaskRun",
            fields=[
                ("name", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("finished_at", models.DateTimeField()),
                ("result", models.CharField(blank=True, max_length=200)),
            ],
        ),
        migrations.CreateModel(
            name="ServiceHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField()),
                ("model", models.CharField(max_length=120)),
                ("upstream", models.CharField(blank=True, max_length=80)),
                ("requests", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("input_tokens", models.BigIntegerField(default=0)),
                ("output_tokens", models.BigIntegerField(default=0)),
                ("charged_nanos", models.BigIntegerField(default=0)),
                ("upstream_cost_nanos", models.BigIntegerField(default=0)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("hour", "model", "upstream"), name="servicehour_once"
                    )
                ],
            },
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="TeamDay",
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
                        "constraints": [
                            models.UniqueConstraint(fields=("day", "account"), name="teamday_once")
                        ],
                    },
                ),
            ]
        ),
        InstallFunctions("overview", 1),
    ]
