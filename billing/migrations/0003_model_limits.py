"""Counts a key's requests by model, for models with limits of their own; installs the SQL anew."""

from pathlib import Path

from django.db import migrations, models

SQL = Path(__file__).resolve().parents[1] / "sql"
FILES = ["types", "guards", "admit", "settle", "sweep", "post", "rollup"]


def install(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for name in FILES:
            # No parameters, so a percent sign in the files stays one.
            cursor.execute((SQL / f"{name}.sql").read_text())


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
