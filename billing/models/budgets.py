"""Budgets: rules of what may be spent in a period, and the rows that count against them.

The functions in `billing/ledger/sql/` are the only code that writes these tables; `budgets_v1.sql`
says how they work.
"""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import ApiKey, Team, User
from billing.models.ledger import CreditAccount


class BudgetRule(models.Model):
    """A budget of a team, of a member's keys or of a key; or a key's, for each session or user."""

    class Scope(models.TextChoices):
        """Whose spending counts. The last two are rules of a key, with a budget for each."""

        TEAM = "team"
        MEMBER = "member"
        KEY = "key"
        SESSION = "session"
        END_USER = "end_user"

    class Period(models.TextChoices):
        """When the budget starts over, in UTC. Weeks begin on Monday."""

        DAY = "day"
        WEEK = "week"
        MONTH = "month"
        TOTAL = "total"

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="budget_rules")
    scope = models.CharField(max_length=10, choices=Scope)
    key = models.ForeignKey(
        ApiKey, on_delete=models.CASCADE, null=True, blank=True, related_name="budget_rules"
    )
    member = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        help_text="Whose keys' spending counts.",
    )
    period = models.CharField(max_length=5, choices=Period)
    limit_nanos = models.PositiveBigIntegerField()
    is_hard = models.BooleanField(
        default=True, db_default=True, help_text="Whether requests beyond it are refused."
    )
    series_id = models.BigIntegerField(
        help_text="Of the rows that count against it. A key that replaces another has its series."
    )
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                "team",
                "scope",
                "period",
                Coalesce("key", 0),
                Coalesce("member", 0),
                name="budgetrule_once",
            ),
            models.CheckConstraint(
                condition=models.Q(scope="team", key__isnull=True, member__isnull=True)
                | models.Q(scope="member", key__isnull=True, member__isnull=False)
                | models.Q(
                    scope__in=["key", "session", "end_user"],
                    key__isnull=False,
                    member__isnull=True,
                ),
                name="budgetrule_subject",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.scope}, {self.period}: {self.limit_nanos} nanos"


class BudgetSpend(models.Model):
    """What was spent and is held in one period, by one subject where a rule is for each of many."""

    account = models.ForeignKey(
        CreditAccount,
        on_delete=models.PROTECT,
        related_name="budget_spends",
        db_index=False,
        db_constraint=False,
    )
    series_id = models.BigIntegerField(
        help_text="Negative, a team's: sessions whose budgets came with requests."
    )
    subject = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="The session or end user."
    )
    starts_on = models.DateField(help_text="The period's first day. 1970-01-01: in all.")
    limit_nanos = models.BigIntegerField(null=True)
    is_hard = models.BooleanField(default=False, db_default=False)
    spent_nanos = models.BigIntegerField(default=0, db_default=0)
    held_nanos = models.BigIntegerField(default=0, db_default=0)
    carried_nanos = models.BigIntegerField(
        default=0, db_default=0, help_text="Included in what is spent: from before the rule."
    )
    warned_percent = models.SmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["series_id", "subject", "starts_on"], name="budgetspend_once"
            ),
            models.CheckConstraint(
                condition=models.Q(held_nanos__gte=0), name="budgetspend_held_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.series_id} {self.subject} since {self.starts_on}: {self.spent_nanos} nanos"


class BudgetWarning(models.Model):
    """A rule's budget that reached 50, 75, 95 or 100%. Emails and webhooks are made from these."""

    spend = models.ForeignKey(BudgetSpend, on_delete=models.CASCADE, related_name="warnings")
    percent = models.SmallIntegerField()
    spent_nanos = models.BigIntegerField()
    limit_nanos = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["created_at"], name="budgetwarning_by_time")
        ]

    def __str__(self) -> str:
        return f"{self.percent}% of {self.limit_nanos} nanos"
