"""Add what staff need beside a customer: frozen keys, tags, notes, and permissions."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

# Admissions read the tables and wait two seconds at most. A migration that gives up is run again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_team_limits"),
    ]

    operations = [
        LOCK_TIMEOUT,
        migrations.AlterModelOptions(
            name="team",
            options={
                "permissions": [
                    ("freeze_team", "Can freeze a team and its keys"),
                    ("resend_emails", "Can send a team's emails again"),
                    ("end_sessions", "Can end the sessions of a team's members"),
                    ("view_as_customer", "Can view the portal as a team sees it"),
                ]
            },
        ),
        migrations.AddField(
            model_name="apikey",
            name="frozen_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Staff froze it: it counts as expired.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="unfrozen_expires_at",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="Its expiry once staff unfreeze it.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="team",
            name="tags",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=40),
                blank=True,
                db_default=[],
                default=list,
                help_text="For staff alone, separated by commas.",
                size=None,
            ),
        ),
        migrations.CreateModel(
            name="StaffNote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("text", models.TextField(max_length=2000)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "author",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="staff_notes",
                        to="accounts.team",
                    ),
                ),
            ],
        ),
    ]
