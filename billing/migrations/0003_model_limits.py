"""Counts a key's requests by model, for models with limits of their own; installs the SQL anew."""

from django.db import migrations, models

from billing.ledger.install import install


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
        migrations.RunPython(install, migrations.RunPython.noop),
    ]
