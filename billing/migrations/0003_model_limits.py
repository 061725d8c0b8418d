"""Counts a key's requests by model, for models with limits of their own."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0002_ledger")]
    operations = [
        migrations.AddField(
            model_name="ratewindow",
            name="model_requests",
            field=models.JSONField(
                default=dict, help_text="Of the requests, those for models with limits of their own."
            ),
        ),
    ]
