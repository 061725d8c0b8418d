"""Costs belong to routes: a table of their versions, and a video's order names its own."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout

# As in 0002: what the relay's snapshot holds has changed.
TRIGGERS = """
CREATE TRIGGER catalogue_inserted AFTER INSERT ON api_routecost REFERENCING NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_updated AFTER UPDATE ON api_routecost
  REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_deleted AFTER DELETE ON api_routecost
  REFERENCING OLD TABLE AS before_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_truncated AFTER TRUNCATE ON api_routecost
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""


def rate(**options):
    return models.PositiveBigIntegerField(**({"default": 0} | options))


def json(empty, help_text):
    return models.JSONField(
        blank=True,
        db_default=models.Value(empty(), models.JSONField()),
        default=empty,
        help_text=help_text,
    )


class Migration(migrations.Migration):
    dependencies = [("api", "0013_upstream_keys")]
    operations = [
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="RouteCost",
                    fields=[
                        (
                            "id",
                            models.BigAutoField(
                                auto_created=True,
                                primary_key=True,
                                serialize=False,
                                verbose_name="ID",
                            ),
                        ),
                        ("effective_from", models.DateTimeField()),
                        ("input_nanos_per_million", rate()),
                        (
                            "cached_input_nanos_per_million",
                            models.PositiveBigIntegerField(
                                blank=True,
                                help_text="Empty: cached input costs as much as input.",
                                null=True,
                            ),
                        ),
                        ("output_nanos_per_million", rate()),
                        (
                            "reasoning_nanos_per_million",
                            models.PositiveBigIntegerField(
                                blank=True,
                                help_text="Empty: reasoning costs as much as output.",
                                null=True,
                            ),
                        ),
                        ("image_nanos", rate(help_text="Per image made.")),
                        ("second_nanos", rate(help_text="Per second made.")),
                        ("piece_nanos", rate(help_text="Per video or other piece.")),
                        ("request_nanos", rate(help_text="Per answered request.")),
                        (
                            "extra_rates",
                            json(dict, "Of the components without columns, by name."),
                        ),
                        (
                            "factor_millionths",
                            models.PositiveIntegerField(
                                db_default=1_000_000,
                                default=1_000_000,
                                help_text="Multiplies every rate, as a contract or a batch does.",
                            ),
                        ),
                        (
                            "context_tiers",
                            json(
                                list, "Rates for requests with more than so many input tokens."
                            ),
                        ),
                        (
                            "service_tiers",
                            json(
                                dict, "The factor of each service tier that can be asked for."
                            ),
                        ),
                        (
                            "source",
                            models.CharField(
                                blank=True,
                                help_text="Where the figures are from.",
                                max_length=200,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(
                                default=django.utils.timezone.now, editable=False
                            ),
                        ),
                        (
                            "route",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.PROTECT,
                                related_name="costs",
                                to="api.route",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ["route", "-effective_from"],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("route", "effective_from"),
                                name="routecost_one_version_at_a_time",
                            )
                        ],
                    },
                ),
                migrations.RunSQL(TRIGGERS, migrations.RunSQL.noop),
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="videojob",
                    name="route_cost",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="The version that the upstream's cost is from.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="api.routecost",
                    ),
                ),
            ]
        ),
    ]
