"""Make room for the kinds of reranking, moderation and audio: choices, which no table knows of."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [("api", "0007_what_goes_upstream")]

    operations = [
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
                            ("rerank", "Rerank"),
                            ("moderation", "Moderation"),
                            ("speech", "Speech"),
                            ("transcription", "Transcription"),
                        ],
                        default="chat",
                        max_length=20,
                    ),
                ),
            ]
        ),
    ]
