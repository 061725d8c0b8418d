"""Add which terms a user accepted at sign-up, and when."""

from django.db import migrations, models

# Sign-ins read the table. A migration that gives up is run again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_zone")]
    operations = [
        LOCK_TIMEOUT,
        migrations.AddField(
            "user",
            "terms_version",
            models.CharField(
                blank=True,
                default="",
                db_default="",
                max_length=20,
                editable=False,
                help_text="The version accepted at sign-up. Empty: created by staff, or earlier.",
            ),
        ),
        migrations.AddField(
            "user",
            "terms_accepted_at",
            models.DateTimeField(null=True, blank=True, editable=False),
        ),
    ]
