"""Indexes a request that did not complete by its body, and a retry by what it repeats."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("billing", "0027_retries")]
    operations = [
        AddIndexConcurrently(
            "usagerecord",
            models.Index(
                condition=models.Q(("body_digest", ""), _negated=True),
                fields=["key", "body_digest", "-created_at"],
                name="usage_by_body",
            ),
        ),
        AddIndexConcurrently(
            "usagerecord",
            models.Index(
                condition=models.Q(("retry_of__isnull", False)),
                fields=["retry_of"],
                name="usage_by_retried",
            ),
        ),
    ]
