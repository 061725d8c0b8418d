"""Recognizes the client's retry of a request that did not complete."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("billing", "0026_carried_spend")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="usagerecord",
                    name="body_digest",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="A keyed digest of the body, of requests that did not complete.",
                        max_length=32,
                    ),
                ),
                migrations.AddField(
                    model_name="usagerecord",
                    name="retry_of",
                    field=models.UUIDField(
                        blank=True, help_text="The request that the client repeated.", null=True
                    ),
                ),
            ]
        ),
    ]
