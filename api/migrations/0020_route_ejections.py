"""Add the log of ejected routes."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("api", "0019_status_events")]

    operations = [
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="RouteEjection",
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
                        ("ejected_at", models.DateTimeField(default=django.utils.timezone.now)),
                        ("retry_at", models.DateTimeField()),
                        ("recovered_at", models.DateTimeField(blank=True, null=True)),
                        ("ejections", models.PositiveIntegerField(db_default=1, default=1)),
                        ("reason", models.TextField(blank=True, db_default="", default="")),
                        (
                            "route",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="ejections",
                                to="api.route",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ["-ejected_at"],
                        "constraints": [
                            models.UniqueConstraint(
                                condition=models.Q(("recovered_at__isnull", True)),
                                fields=("route",),
                                name="routeejection_one_lasting",
                            )
                        ],
                    },
                ),
            ]
        ),
    ]
