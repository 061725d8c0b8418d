"""Indexes the requests that cost more than they were charged."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0036_margins")]
    operations = [
        AddIndexConcurrently(
            "usagerecord",
            models.Index(
                condition=models.Q(("upstream_cost_nanos__gt", models.F("charged_nanos"))),
                fields=["-created_at"],
                name="usage_at_a_loss",
            ),
        ),
    ]
