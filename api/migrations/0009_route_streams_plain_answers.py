"""Let a route ask its upstream for a stream where the client wants a plain answer.

A new column with a database default rewrites no table.
"""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [("api", "0008_media_kinds")]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="route",
                    name="streams_plain_answers",
                    field=models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Ask for a stream where the client wants a plain answer, and put that "
                            "together here: for upstreams and proxies that end connections which "
                            "are silent for minutes."
                        ),
                    ),
                ),
            ]
        ),
    ]
