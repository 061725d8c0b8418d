"""Add the language of a user."""

from django.db import migrations, models

# Sign-ins read the table. A migration that gives up is run again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0013_frozen_by_team")]
    operations = [
        LOCK_TIMEOUT,
        migrations.AddField(
            "user",
            "language",
            models.CharField(blank=True, default="", db_default="", max_length=16),
        ),
    ]
