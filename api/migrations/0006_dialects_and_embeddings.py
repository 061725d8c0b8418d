"""Name each upstream's dialect, and make room for the kind `embedding`.

A new column with a database default and a wider varchar: neither rewrites a table.
"""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [("api", "0005_labels")]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="upstream",
                    name="dialect",
                    field=models.CharField(
                        db_default="openai_chat",
                        default="openai_chat",
                        help_text="The wire format that it speaks: one of api/dialects.",
                        max_length=40,
                    ),
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.AlterField(
                    model_name="model",
                    name="kind",
                    field=models.CharField(
                        choices=[
                            ("chat", "Chat"),
                            ("embedding", "Embedding"),
                            ("image", "Image"),
                            ("video", "Video"),
                        ],
                        default="chat",
                        max_length=20,
                    ),
                ),
            ]
        ),
    ]
