"""Costs belong to routes (`api.RouteCost`): price versions keep theirs for the last release only.

The columns stay until no process of that release runs any more. Rows of this one leave them out.
"""

from django.db import migrations, models

from billing.ledger.install import WithLockTimeout

COLUMNS_WITHOUT_DEFAULT = [
    "input_cost_nanos_per_million",
    "output_cost_nanos_per_million",
    "image_cost_nanos",
    "second_cost_nanos",
    "piece_cost_nanos",
    "request_cost_nanos",
]
FIELDS = [
    *COLUMNS_WITHOUT_DEFAULT,
    "cached_input_cost_nanos_per_million",
    "reasoning_cost_nanos_per_million",
    "extra_cost_rates",
    "cost_factor_millionths",
    "cost_context_tiers",
    "cost_service_tiers",
]


def _altered(change):
    changes = (f"ALTER COLUMN {name} {change}" for name in COLUMNS_WITHOUT_DEFAULT)
    return f"ALTER TABLE billing_priceversion {', '.join(changes)}"


class Migration(migrations.Migration):
    dependencies = [("billing", "0031_cost_lines"), ("api", "0015_route_costs_of_prices")]
    operations = [
        WithLockTimeout([migrations.RunSQL(_altered("SET DEFAULT 0"), _altered("DROP DEFAULT"))]),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField("priceversion", name) for name in FIELDS]
        ),
        migrations.AlterField(
            "priceversion",
            "factor_millionths",
            models.PositiveIntegerField(
                db_default=1_000_000,
                default=1_000_000,
                help_text="Multiplies every rate, as a contract or a batch does.",
            ),
        ),
    ]
