"""Adds factors, context tiers and service tiers to prices."""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


def added(name, field):
    return migrations.AddField(model_name="priceversion", name=name, field=field)


def factor(**options):
    return models.PositiveIntegerField(db_default=1_000_000, default=1_000_000, **options)


def tiers(empty, **options):
    return models.JSONField(
        blank=True, db_default=models.Value(empty(), models.JSONField()), default=empty, **options
    )


class Migration(migrations.Migration):
    dependencies = [("billing", "0017_payment_labels")]
    operations = [
        WithLockTimeout(
            [
                added(
                    "factor_millionths",
                    factor(help_text="Multiplies every price, as a contract or a batch does."),
                ),
                added(
                    "context_tiers",
                    tiers(
                        list,
                        help_text="Rates for requests with more than so many input tokens.",
                    ),
                ),
                added(
                    "service_tiers",
                    tiers(dict, help_text="The factor of each service tier that can be asked for."),
                ),
                added("cost_factor_millionths", factor()),
                added("cost_context_tiers", tiers(list)),
                added("cost_service_tiers", tiers(dict)),
            ]
        ),
        migrations.AlterField(
            model_name="usagerecord",
            name="lines",
            field=models.JSONField(
                db_default=models.Value([], models.JSONField()),
                default=list,
                help_text="[component, quantity, rate_nanos, per, amount_nanos] of each, with [factor_millionths, above_input_tokens, service_tier] where they make a difference; none in old rows.",
            ),
        ),
    ]
