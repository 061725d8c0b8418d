"""Say in a route's row what broken streams and empty answers cost; new columns, no row rewritten."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):

    dependencies = [("api", "0010_async_chats")]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="route",
                    name="charges_broken_streams",
                    field=models.CharField(
                        choices=[
                            ("reported", "If the upstream reported usage"),
                            ("always", "Always"),
                            ("never", "Never"),
                        ],
                        db_default="reported",
                        default="reported",
                        help_text=(
                            "When the customer pays for the prompt and the delivered part of a "
                            "stream that the upstream breaks off. Go by what the upstream bills."
                        ),
                        max_length=12,
                    ),
                ),
                migrations.AddField(
                    model_name="route",
                    name="charges_empty_answers",
                    field=models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Charge the input of empty answers, as the upstream bills it."
                        ),
                    ),
                ),
            ]
        ),
    ]
