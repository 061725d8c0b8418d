"""Add rules of budgets, the rows that count against them, and warnings."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.comparison
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

from billing.ledger.install import WithLockTimeout


def spend_ids(model_name: str) -> WithLockTimeout:
    """Return the operation that adds the column of the rows that a request counts in."""
    field = django.contrib.postgres.fields.ArrayField(
        base_field=models.BigIntegerField(),
        help_text="The budgets' rows that it counts in.",
        null=True,
        size=None,
    )
    return WithLockTimeout([migrations.AddField(model_name, "spend_ids", field)])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0014_language"),
        ("billing", "0040_session_index"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        WithLockTimeout(
            [
                migrations.AddField(
                    model_name="creditaccount",
                    name="has_budgets",
                    field=models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Whether the team has, or had, budget rules.",
                    ),
                ),
            ]
        ),
        spend_ids("reservation"),
        spend_ids("usagerecord"),
        migrations.CreateModel(
            name="BudgetSpend",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "series_id",
                    models.BigIntegerField(
                        help_text="Negative, a team's: sessions whose budgets came with requests."
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The session or end user.",
                        max_length=200,
                    ),
                ),
                (
                    "starts_on",
                    models.DateField(help_text="The period's first day. 1970-01-01: in all."),
                ),
                ("limit_nanos", models.BigIntegerField(null=True)),
                ("is_hard", models.BooleanField(db_default=False, default=False)),
                ("spent_nanos", models.BigIntegerField(db_default=0, default=0)),
                ("held_nanos", models.BigIntegerField(db_default=0, default=0)),
                (
                    "carried_nanos",
                    models.BigIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Included in what is spent: from before the rule.",
                    ),
                ),
                ("warned_percent", models.SmallIntegerField(db_default=0, default=0)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="budget_spends",
                        to="billing.creditaccount",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("series_id", "subject", "starts_on"),
                        name="budgetspend_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("held_nanos__gte", 0)),
                        name="budgetspend_held_not_negative",
                    ),
                ],
            },
        ),
        # Rows that are updated over and over get room on their page.
        WithLockTimeout(
            [
                migrations.RunSQL(
                    "ALTER TABLE billing_budgetspend SET (fillfactor = 50)", migrations.RunSQL.noop
                )
            ]
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="BudgetWarning",
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
                        ("percent", models.SmallIntegerField()),
                        ("spent_nanos", models.BigIntegerField()),
                        ("limit_nanos", models.BigIntegerField()),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                        (
                            "spend",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="warnings",
                                to="billing.budgetspend",
                            ),
                        ),
                    ],
                    options={
                        "indexes": [
                            models.Index(fields=["created_at"], name="budgetwarning_by_time")
                        ],
                    },
                ),
            ]
        ),
        WithLockTimeout(
            [
                migrations.CreateModel(
                    name="BudgetRule",
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
                            "scope",
                            models.CharField(
                                choices=[
                                    ("team", "Team"),
                                    ("member", "Member"),
                                    ("key", "Key"),
                                    ("session", "Session"),
                                    ("end_user", "End User"),
                                ],
                                max_length=10,
                            ),
                        ),
                        (
                            "period",
                            models.CharField(
                                choices=[
                                    ("day", "Day"),
                                    ("week", "Week"),
                                    ("month", "Month"),
                                    ("total", "Total"),
                                ],
                                max_length=5,
                            ),
                        ),
                        ("limit_nanos", models.PositiveBigIntegerField()),
                        (
                            "is_hard",
                            models.BooleanField(
                                db_default=True,
                                default=True,
                                help_text="Whether requests beyond it are refused.",
                            ),
                        ),
                        (
                            "series_id",
                            models.BigIntegerField(
                                help_text="Of the rows that count against it. A key that replaces another has its series."
                            ),
                        ),
                        ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                        (
                            "key",
                            models.ForeignKey(
                                blank=True,
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="budget_rules",
                                to="accounts.apikey",
                            ),
                        ),
                        (
                            "member",
                            models.ForeignKey(
                                blank=True,
                                help_text="Whose keys' spending counts.",
                                null=True,
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="+",
                                to=settings.AUTH_USER_MODEL,
                            ),
                        ),
                        (
                            "team",
                            models.ForeignKey(
                                on_delete=django.db.models.deletion.CASCADE,
                                related_name="budget_rules",
                                to="accounts.team",
                            ),
                        ),
                    ],
                    options={
                        "constraints": [
                            models.UniqueConstraint(
                                models.F("team"),
                                models.F("scope"),
                                models.F("period"),
                                django.db.models.functions.comparison.Coalesce("key", 0),
                                django.db.models.functions.comparison.Coalesce("member", 0),
                                name="budgetrule_once",
                            ),
                            models.CheckConstraint(
                                condition=models.Q(
                                    models.Q(
                                        ("key__isnull", True),
                                        ("member__isnull", True),
                                        ("scope", "team"),
                                    ),
                                    models.Q(
                                        ("key__isnull", True),
                                        ("member__isnull", False),
                                        ("scope", "member"),
                                    ),
                                    models.Q(
                                        ("key__isnull", False),
                                        ("member__isnull", True),
                                        ("scope__in", ["key", "session", "end_user"]),
                                    ),
                                    _connector="OR",
                                ),
                                name="budgetrule_subject",
                            ),
                        ],
                    },
                ),
            ]
        ),
    ]
