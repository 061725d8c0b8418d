"""Models whose reasoning is billed but not streamed, so that their holds can't grow with it."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


class Migration(migrations.Migration):
    dependencies = [("api", "0025_contract_prices")]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="model",
                    name="hides_reasoning",
                    field=models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Upstreams bill reasoning that they don't stream, or stream in "
                            "summary. Streams then reserve credits for max_tokens at once, instead "
                            "of as the answer grows."
                        ),
                    ),
                ),
            ]
        ),
    ]
