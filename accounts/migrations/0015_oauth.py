"""Add the sign-ins of devices, the authorizations of apps, and the source of a key."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

# Every request reads the keys. A migration that gives up is run again.
LOCK_TIMEOUT = migrations.RunSQL("SET LOCAL lock_timeout = '1s'", migrations.RunSQL.noop)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0014_language")]
    operations = [
        LOCK_TIMEOUT,
        migrations.AddField(
            "apikey",
            "source",
            models.CharField(
                blank=True,
                db_default="",
                default="",
                editable=False,
                help_text="The program that it was approved for: an application's name or host.",
                max_length=255,
            ),
        ),
        migrations.AddField(
            "apikey",
            "renewable_until",
            models.DateTimeField(
                blank=True,
                editable=False,
                help_text="A program that signed in renews its token until then.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            "DeviceSignIn",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("device_digest", models.BinaryField(max_length=32, unique=True)),
                ("user_code_digest", models.BinaryField(max_length=32, null=True, unique=True)),
                ("client", models.CharField(max_length=80)),
                ("user_agent", models.CharField(blank=True, max_length=200)),
                ("ip_address", models.GenericIPAddressField(verbose_name="IP address")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(help_text="The codes are valid until then.")),
                ("interval_seconds", models.PositiveSmallIntegerField(db_default=5, default=5)),
                ("polled_at", models.DateTimeField(blank=True, null=True)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("ends_at", models.DateTimeField(blank=True, help_text="The approved end of the key.", null=True)),
                ("exchanged_at", models.DateTimeField(blank=True, null=True)),
                ("family_digest", models.BinaryField(max_length=32, null=True, unique=True)),
                ("refresh_digest", models.BinaryField(max_length=32, null=True)),
                ("refreshed_from", models.GenericIPAddressField(blank=True, null=True, verbose_name="renewed from")),
                (
                    "key",
                    models.OneToOneField(
                        blank=True,
                        help_text="Empty: not approved.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="device_sign_in",
                        to="accounts.apikey",
                    ),
                ),
            ],
            {
                "verbose_name": "device sign-in",
                "indexes": [models.Index(fields=["expires_at"], name="device_by_expiry")],
            },
        ),
        migrations.CreateModel(
            "AppAuthorization",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.BinaryField(max_length=32, unique=True)),
                ("challenge", models.BinaryField(max_length=32)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ("expires_at", models.DateTimeField(help_text="The code is valid until then.")),
                (
                    "key_expires_at",
                    models.DateTimeField(
                        blank=True, help_text="The approved end of the key. Empty: never.", null=True
                    ),
                ),
                ("exchanged_at", models.DateTimeField(blank=True, null=True)),
                (
                    "key",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="app_authorization",
                        to="accounts.apikey",
                    ),
                ),
            ],
            {"verbose_name": "app authorization"},
        ),
    ]
