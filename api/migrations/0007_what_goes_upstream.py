"""Say in the rows what goes upstream: allowed parameters of models, what a route's upstream takes.

New columns with database defaults rewrite no table. Models that are listed with web search keep
taking the parameter for it.
"""

import django.contrib.postgres.fields
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from billing.ledger.install import WithLockTimeout


def allow_plugins(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Allow `plugins` where web search is offered."""
    model = apps.get_model("api", "Model")
    model.objects.filter(features__contains=["web_search"]).update(allowed_parameters=["plugins"])


class Migration(migrations.Migration):

    dependencies = [("api", "0006_dialects_and_embeddings")]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="model",
                    name="allowed_parameters",
                    field=django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=64),
                        blank=True,
                        db_default=[],
                        default=list,
                        help_text=(
                            "Parameters that can change what the upstream bills, and are refused "
                            "unless they are here: plugins, or plugins.web for one of them; "
                            "service_tier, web_search_options, …. Price the model for them."
                        ),
                        size=None,
                    ),
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="route",
                    name="max_tokens_field",
                    field=models.CharField(
                        choices=[
                            ("max_tokens", "Max Tokens"),
                            ("max_completion_tokens", "Max Completion Tokens"),
                        ],
                        db_default="max_tokens",
                        default="max_tokens",
                        help_text="OpenAI's reasoning models take max_completion_tokens only.",
                        max_length=24,
                    ),
                ),
                migrations.AddField(
                    model_name="route",
                    name="takes_stream_options",
                    field=models.BooleanField(
                        db_default=True,
                        default=True,
                        help_text=(
                            "Without stream_options, streams that report no usage are estimated."
                        ),
                    ),
                ),
                migrations.AddField(
                    model_name="route",
                    name="takes_temperature",
                    field=models.BooleanField(
                        db_default=True,
                        default=True,
                        help_text="Clear this to leave out temperature and top_p.",
                    ),
                ),
                migrations.AddField(
                    model_name="route",
                    name="takes_developer_role",
                    field=models.BooleanField(
                        db_default=True,
                        default=True,
                        help_text="Clear this to send developer messages as system.",
                    ),
                ),
                migrations.AddField(
                    model_name="route",
                    name="passes_unknown_fields",
                    field=models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text=(
                            "Send fields of requests that are unknown here, whatever they cost "
                            "upstream."
                        ),
                    ),
                ),
            ]
        ),
        migrations.RunPython(allow_plugins, migrations.RunPython.noop),
    ]
