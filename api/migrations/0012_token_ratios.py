"""Keep what upstreams count of prompts, against our estimates; a new table."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("api", "0011_broken_and_empty_answers")]

    operations = [
        migrations.CreateModel(
            name="TokenRatio",
            fields=[
                (
                    "model",
                    models.CharField(max_length=120, primary_key=True, serialize=False),
                ),
                ("estimated_tokens", models.FloatField(default=0)),
                ("reported_tokens", models.FloatField(default=0)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
    ]
