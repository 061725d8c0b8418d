"""Admin pages of budgets, which teams set in the portal. Read-only."""

from django.contrib import admin

from billing.admin.fields import ReadOnlyAdmin, dollars
from billing.models import BudgetRule, BudgetSpend, BudgetWarning


@admin.register(BudgetRule)
class BudgetRuleAdmin(ReadOnlyAdmin):
    """Budgets of teams, members and keys, and keys' rules for sessions and end users."""

    list_display = ("team", "scope", "key", "member", "period", dollars("limit_nanos"), "is_hard")
    list_filter = ("scope", "period", "is_hard")
    list_select_related = ("team", "key", "member")
    search_fields = ("team__slug", "key__name", "member__email")


@admin.register(BudgetSpend)
class BudgetSpendAdmin(ReadOnlyAdmin):
    """What counts against budgets, by period and by session or end user."""

    list_display = (
        "account",
        "series_id",
        "subject",
        "starts_on",
        dollars("limit_nanos"),
        dollars("spent_nanos"),
        dollars("held_nanos"),
    )
    list_filter = ("starts_on", "is_hard")
    list_select_related = ("account__team",)
    search_fields = ("account__team__slug", "=subject", "=series_id")


@admin.register(BudgetWarning)
class BudgetWarningAdmin(ReadOnlyAdmin):
    """Budgets that reached 50, 75, 95 or 100%."""

    list_display = (
        "created_at",
        "spend",
        "percent",
        dollars("spent_nanos"),
        dollars("limit_nanos"),
    )
    list_filter = ("percent", "created_at")
    list_select_related = ("spend",)
    search_fields = ("spend__account__team__slug", "=spend__subject")
