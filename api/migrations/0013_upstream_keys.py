"""Give upstreams' rows room for an encrypted key."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [("api", "0012_token_ratios")]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="upstream",
                    name="encrypted_key",
                    field=models.TextField(blank=True, db_default="", default="", editable=False),
                ),
                migrations.AddField(
                    model_name="upstream",
                    name="key_end",
                    field=models.CharField(
                        blank=True, db_default="", default="", editable=False, max_length=4
                    ),
                ),
                migrations.AddField(
                    model_name="upstream",
                    name="key_set_at",
                    field=models.DateTimeField(blank=True, editable=False, null=True),
                ),
                migrations.AlterField(
                    model_name="upstream",
                    name="api_key_env",
                    field=models.CharField(
                        blank=True,
                        help_text="The environment variable that holds the key, if none is stored.",
                        max_length=80,
                        verbose_name="API key variable",
                    ),
                ),
            ]
        ),
    ]
