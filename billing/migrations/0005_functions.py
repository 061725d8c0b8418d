"""Brings the ledger's functions to their files."""

from django.db import migrations

from billing.ledger.install import install


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_page_indexes")]
    operations = [migrations.RunPython(install, migrations.RunPython.noop)]
