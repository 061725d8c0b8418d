"""Upstreams and routes can be drained, from a moment on."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("api", "0020_route_ejections")]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="upstream",
                    name="drains_at",
                    field=models.DateTimeField(
                        blank=True,
                        help_text=(
                            "No new calls from this moment on (UTC); running ones end as usual. "
                            "Empty: never. Models without another route are offline."
                        ),
                        null=True,
                    ),
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="route",
                    name="drains_at",
                    field=models.DateTimeField(
                        blank=True,
                        help_text=(
                            "No new calls from this moment on (UTC); running ones end as usual. "
                            "Empty: never. Without another route, the model is offline."
                        ),
                        null=True,
                    ),
                ),
            ]
        ),
    ]
