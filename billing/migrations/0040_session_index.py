"""Indexes the requests that belong to a session."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0039_session_ids")]
    operations = [
        AddIndexConcurrently(
            "usagerecord",
            models.Index(
                condition=models.Q(("session_id", ""), _negated=True),
                fields=["account", "session_id", "-created_at"],
                name="usage_by_session",
            ),
        ),
    ]
