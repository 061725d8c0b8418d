"""The service's row carries the digest of the published brand."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("api", "0021_drains_at")]
    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="service",
                    name="brand_digest",
                    field=models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        editable=False,
                        help_text=(
                            "The published brand's (portal/brand): processes reload it when this "
                            "changes."
                        ),
                        max_length=64,
                    ),
                ),
            ]
        ),
    ]
