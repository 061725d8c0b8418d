"""Add the time zone of a user, and reword two help texts."""

from django.db import migrations, models

# Sign-ins read the table. A migration that gives up is run again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_price_change_notices")]
    operations = [
        LOCK_TIMEOUT,
        migrations.AddField(
            "user",
            "zone",
            models.CharField(
                "time zone",
                blank=True,
                default="",
                db_default="",
                max_length=64,
                help_text="An IANA name, such as Europe/Prague. Empty: the browser's.",
            ),
        ),
        migrations.AlterField(
            "team",
            "suspended_at",
            models.DateTimeField(
                null=True, blank=True, help_text="When set, all of the team's keys are rejected (403)."
            ),
        ),
        migrations.AlterField(
            "notificationsettings",
            "low_balance_nanos",
            models.PositiveBigIntegerField(
                default=5_000_000_000, help_text="The balance below which an alert is sent."
            ),
        ),
    ]
