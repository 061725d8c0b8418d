"""Add the maintenance mode, switched off."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("api", "0017_alert_targets")]

    operations = [
        migrations.CreateModel(
            name="MaintenanceMode",
            fields=[
                (
                    "id",
                    models.SmallIntegerField(
                        default=1, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "is_on",
                    models.BooleanField(
                        default=False,
                        help_text="Pages show the text, and the API answers 503. Running requests "
                        "continue; staff, Stripe's webhooks, /health and /status keep working. It "
                        "stays on until it is cleared.",
                        verbose_name="maintenance mode is on",
                    ),
                ),
                (
                    "text",
                    models.CharField(
                        blank=True,
                        help_text="For customers: what is being done.",
                        max_length=300,
                    ),
                ),
                (
                    "ends_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When it is expected to end, for customers and for Retry-After.",
                        null=True,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "maintenance mode",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="maintenance_one_row"
                    )
                ],
            },
        ),
        migrations.RunSQL(
            "INSERT INTO api_maintenancemode (id, is_on, text) VALUES (1, false, '')",
            migrations.RunSQL.noop,
        ),
    ]
