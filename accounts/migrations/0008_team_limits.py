"""Add the limits of a team: requests at the same time, and keys."""

from django.db import migrations, models

# Admissions read both tables and wait two seconds at most. A migration that gives up is run again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_labels")]
    operations = [
        LOCK_TIMEOUT,
        migrations.AddField(
            "plan",
            "concurrent_requests",
            models.PositiveIntegerField(
                default=100, db_default=100, help_text="Requests of a team at the same time."
            ),
        ),
        migrations.AddField(
            "plan",
            "max_keys",
            models.PositiveIntegerField(
                "maximum keys",
                default=100,
                db_default=100,
                help_text="API keys of a team that are valid.",
            ),
        ),
        migrations.AddField(
            "team",
            "concurrent_requests",
            models.PositiveIntegerField(
                null=True,
                blank=True,
                help_text="Requests at the same time. Empty: the plan's limit.",
            ),
        ),
        migrations.AddField(
            "team",
            "max_keys",
            models.PositiveIntegerField(
                "maximum keys",
                null=True,
                blank=True,
                help_text="Valid API keys. Empty: the plan's limit.",
            ),
        ),
    ]
