"""Let a team freeze a key itself, apart from keys that staff froze."""

from django.db import migrations, models

# Every admission reads the table. A migration that gives up is run again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0012_consent")]
    operations = [
        LOCK_TIMEOUT,
        migrations.AddField(
            "apikey",
            "is_frozen_by_team",
            models.BooleanField(default=False, db_default=False, editable=False),
        ),
        migrations.AlterField(
            "apikey",
            "frozen_at",
            models.DateTimeField(
                null=True,
                blank=True,
                editable=False,
                help_text="It was frozen: it counts as expired.",
            ),
        ),
        migrations.AlterField(
            "apikey",
            "unfrozen_expires_at",
            models.DateTimeField(
                null=True,
                blank=True,
                editable=False,
                help_text="Its expiry once it is unfrozen.",
            ),
        ),
    ]
