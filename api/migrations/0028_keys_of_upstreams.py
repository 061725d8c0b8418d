"""Upstreams have several keys: rows of their own, made of the key that each upstream has today.

The columns of the last release's key stay for its processes, which read them until they end. What
they write there becomes a row as well.
"""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions
import django.utils.timezone
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout

# As in 0002: what the relay's snapshot holds has changed.
TRIGGERS = """
CREATE TRIGGER catalogue_inserted AFTER INSERT ON api_upstreamkey
  REFERENCING NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_updated AFTER UPDATE ON api_upstreamkey
  REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_deleted AFTER DELETE ON api_upstreamkey
  REFERENCING OLD TABLE AS before_rows
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
CREATE TRIGGER catalogue_truncated AFTER TRUNCATE ON api_upstreamkey
  FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed();
"""
TAKE_OVER = """
CREATE FUNCTION upstream_key_taken_over() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO api_upstreamkey AS current (
    upstream_id, name, api_key_env, encrypted_key, key_end, key_set_at)
  VALUES (NEW.id, 'default', NEW.api_key_env, NEW.encrypted_key, NEW.key_end, NEW.key_set_at)
  ON CONFLICT (upstream_id, name) DO UPDATE SET
    api_key_env = excluded.api_key_env,
    encrypted_key = excluded.encrypted_key,
    key_end = excluded.key_end,
    key_set_at = excluded.key_set_at;
  RETURN NULL;
END $$;
CREATE TRIGGER key_inserted AFTER INSERT ON api_upstream
  FOR EACH ROW WHEN (NEW.api_key_env <> '' OR NEW.encrypted_key <> '')
  EXECUTE FUNCTION upstream_key_taken_over();
CREATE TRIGGER key_updated AFTER UPDATE ON api_upstream
  FOR EACH ROW WHEN ((OLD.api_key_env, OLD.encrypted_key) <> (NEW.api_key_env, NEW.encrypted_key))
  EXECUTE FUNCTION upstream_key_taken_over();
INSERT INTO api_upstreamkey (upstream_id, api_key_env, encrypted_key, key_end, key_set_at)
SELECT id, api_key_env, encrypted_key, key_end, key_set_at
FROM api_upstream WHERE api_key_env <> '' OR encrypted_key <> '';
ALTER TABLE api_upstream ALTER COLUMN api_key_env SET DEFAULT '';
"""
GIVE_BACK = """
DROP TRIGGER key_inserted ON api_upstream;
DROP TRIGGER key_updated ON api_upstream;
DROP FUNCTION upstream_key_taken_over();
"""


def limit(kind, help_text):
    least = django.core.validators.MinValueValidator(1)
    return kind(blank=True, help_text=help_text, null=True, validators=[least])


class Migration(migrations.Migration):
    dependencies = [("api", "0027_idempotent_requests")]

    operations = [
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="UpstreamKey",
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
                        (
                            "name",
                            models.SlugField(
                                db_default="default",
                                default="default",
                                help_text=(
                                    "Shown to staff in attempts, ejections and metrics; never to "
                                    "customers."
                                ),
                                max_length=40,
                            ),
                        ),
                        (
                            "api_key_env",
                            models.CharField(
                                blank=True,
                                db_default="",
                                default="",
                                editable=False,
                                help_text=(
                                    "The environment variable that holds the key, if none is "
                                    "stored."
                                ),
                                max_length=80,
                                verbose_name="API key variable",
                            ),
                        ),
                        (
                            "encrypted_key",
                            models.TextField(
                                blank=True, db_default="", default="", editable=False
                            ),
                        ),
                        (
                            "key_end",
                            models.CharField(
                                blank=True,
                                db_default="",
                                default="",
                                editable=False,
                                max_length=4,
                            ),
                        ),
                        (
                            "key_set_at",
                            models.DateTimeField(blank=True, editable=False, null=True),
                        ),
                        (
                            "is_enabled",
                            models.BooleanField(
                                db_default=True,
                                default=True,
                                help_text="Clear this to stop using the key at once.",
                            ),
                        ),
                        (
                            "weight",
                            models.PositiveIntegerField(
                                db_default=1,
                                default=1,
                                help_text="The share of sessions among the upstream's keys.",
                                validators=[django.core.validators.MinValueValidator(1)],
                            ),
                        ),
                        (
                            "max_concurrency",
                            limit(
                                models.PositiveIntegerField,
                                "Calls at once from each process. Empty: the upstream's limit "
                                "alone applies.",
                            ),
                        ),
                        (
                            "requests_per_minute",
                            limit(
                                models.PositiveIntegerField,
                                "From all processes together. Empty: no limit.",
                            ),
                        ),
                        (
                            "tokens_per_minute",
                            limit(
                                models.PositiveBigIntegerField,
                                "Input and output, from all processes together. Empty: no limit.",
                            ),
                        ),
                        (
                            "drains_at",
                            models.DateTimeField(
                                blank=True,
                                help_text=(
                                    "No new calls from this moment on (UTC); running ones end as "
                                    "usual. Empty: never."
                                ),
                                null=True,
                            ),
                        ),
                        (
                            "created_at",
                            models.DateTimeField(
                                db_default=django.db.models.functions.Now(),
                                default=django.utils.timezone.now,
                                editable=False,
                            ),
                        ),
                        (
                            "upstream",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="keys",
                                to="api.upstream",
                            ),
                        ),
                    ],
                    options={
                        "ordering": ["upstream", "id"],
                        "constraints": [
                            models.UniqueConstraint(
                                fields=("upstream", "name"), name="upstreamkey_name_once"
                            )
                        ],
                    },
                ),
                migrations.RunSQL(TRIGGERS, migrations.RunSQL.noop),
                migrations.RunSQL(TAKE_OVER, GIVE_BACK),
                migrations.SeparateDatabaseAndState(
                    state_operations=[
                        migrations.RemoveField("upstream", name)
                        for name in ("api_key_env", "encrypted_key", "key_end", "key_set_at")
                    ]
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="videojob",
                    name="upstream_key",
                    field=models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        help_text="The key that it was ordered with, and is polled with.",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="api.upstreamkey",
                    ),
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.RemoveConstraint(
                    model_name="routeejection", name="routeejection_one_lasting"
                ),
                migrations.AddField(
                    model_name="routeejection",
                    name="key",
                    field=models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ejections",
                        to="api.upstreamkey",
                    ),
                ),
                migrations.AddConstraint(
                    model_name="routeejection",
                    constraint=models.UniqueConstraint(
                        condition=models.Q(("recovered_at__isnull", True)),
                        fields=("route", "key"),
                        name="routeejection_one_lasting_by_key",
                        nulls_distinct=False,
                    ),
                ),
            ]
        ),
    ]
