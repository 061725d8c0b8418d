"""Installed the ledger's functions once, as 0007 does now."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_page_indexes")]
    operations = []
