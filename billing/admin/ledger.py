"""Admin pages for usage and the ledger, all read-only."""

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from billing.admin.fields import ReadOnlyAdmin, dollars
from billing.models import (
    CatalogueVersion,
    CreditAccount,
    FreeWindow,
    KeySpend,
    LedgerAlert,
    MarginDay,
    ProcessLease,
    RateWindow,
    Reservation,
    ServiceHour,
    TaskRun,
    TeamDay,
    Transfer,
    UsageHour,
    UsageRecord,
)


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin):
    """Balances. The platform's own accounts are sums of transfers: their rows stay at zero."""

    list_display = (
        "__str__",
        "kind",
        dollars("posted_nanos"),
        dollars("held_nanos"),
        "available",
        "created_at",
    )
    list_filter = ("kind", "created_at")
    list_select_related = ("team",)
    search_fields = ("team__name", "team__slug", "team__memberships__user__email")

    @admin.display(description="Available, $")
    def available(self, account: CreditAccount) -> str:
        """Return what the customer can spend, in dollars."""
        return dollars("available_nanos")(account)


@admin.register(Transfer)
class TransferAdmin(ReadOnlyAdmin):
    """Transfers between accounts."""

    list_display = (
        "id",
        "created_at",
        "kind",
        "debit_account",
        "credit_account",
        dollars("amount_nanos"),
        dollars("balance_nanos", "Customer's balance after, $"),
        "reference",
        "memo",
    )
    list_filter = ("kind", "created_at")
    list_select_related = ("debit_account__team", "credit_account__team")
    search_fields = ("=reference", "customer__team__slug")
    ordering = ("-id",)


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    """Credit held for requests."""

    list_display = (
        "id",
        "account",
        "model",
        dollars("amount_nanos"),
        "state",
        "created_at",
        "expires_at",
        "ended_at",
    )
    list_filter = ("state",)
    list_select_related = ("account__team",)
    search_fields = ("=id", "account__team__slug")
    ordering = ("-created_at",)


@admin.register(UsageRecord)
class UsageRecordAdmin(ReadOnlyAdmin):
    """Requests, their usage and cost; the page of one is the console's (portal/console)."""

    list_display = (
        "request_id",
        "created_at",
        "account",
        "model",
        "upstream",
        "input_tokens",
        "output_tokens",
        dollars("charged_nanos"),
        dollars("written_off_nanos"),
        dollars("upstream_cost_nanos"),
        "source",
        "outcome",
        "status",
        "latency_ms",
    )
    list_filter = ("source", "streamed", "is_late", "created_at")
    list_select_related = ("account__team",)
    search_fields = ("=request_id", "account__team__slug")
    ordering = ("-created_at",)


@admin.register(KeySpend)
class KeySpendAdmin(ReadOnlyAdmin):
    """Spending of API keys against their budgets."""

    list_display = (
        "key",
        dollars("day_nanos"),
        dollars("month_nanos"),
        dollars("total_nanos"),
        dollars("held_nanos"),
        "last_used_at",
    )
    list_filter = ("last_used_at",)
    list_select_related = ("key",)
    search_fields = ("key__name", "key__team__slug", "=key__last_four")


@admin.register(RateWindow)
class RateWindowAdmin(ReadOnlyAdmin):
    """Rate-limit counters of API keys for the current minute."""

    list_display = ("key", "started_at", "requests", "tokens")
    list_filter = ("started_at",)
    list_select_related = ("key",)
    search_fields = ("key__name", "key__team__slug", "=key__last_four")


@admin.register(FreeWindow)
class FreeWindowAdmin(ReadOnlyAdmin):
    """Rate-limit counters of free models, of teams and addresses, for the current minute."""

    list_display = ("subject", "started_at", "requests", "tokens")
    list_filter = ("started_at",)
    search_fields = ("=subject",)


@admin.register(ProcessLease)
class ProcessLeaseAdmin(ReadOnlyAdmin):
    """Leases of the processes that admit requests; what an ended one held is released."""

    list_display = ("id", "process", "started_at", "renewed_at", "suspected_at", "ended_at")
    list_filter = ("started_at", "ended_at")
    search_fields = ("process",)


@admin.register(UsageHour)
class UsageHourAdmin(ReadOnlyAdmin):
    """Usage rolled up by hour."""

    list_display = (
        "hour",
        "account",
        "key",
        "model",
        "requests",
        "errors",
        "input_tokens",
        "output_tokens",
        dollars("charged_nanos"),
        dollars("upstream_cost_nanos"),
    )
    list_filter = ("hour",)
    list_select_related = ("account__team", "key")
    search_fields = ("account__team__slug", "=model")
    ordering = ("-hour",)


@admin.register(ServiceHour)
class ServiceHourAdmin(ReadOnlyAdmin):
    """The whole service's usage by hour, model and upstream."""

    list_display = (
        "hour",
        "model",
        "upstream",
        "requests",
        "errors",
        dollars("charged_nanos"),
        dollars("upstream_cost_nanos"),
    )
    list_filter = ("hour",)
    search_fields = ("=model", "=upstream")
    ordering = ("-hour",)


@admin.register(MarginDay)
class MarginDayAdmin(ReadOnlyAdmin):
    """Teams' revenue and cost by day, model and upstream: the source of the margins page."""

    list_display = (
        "day",
        "account",
        "model",
        "upstream",
        "requests",
        "errors",
        dollars("charged_nanos"),
        dollars("upstream_cost_nanos"),
    )
    list_filter = ("day",)
    list_select_related = ("account__team",)
    search_fields = ("=model", "=upstream", "account__team__slug")
    ordering = ("-day", "-id")


@admin.register(TeamDay)
class TeamDayAdmin(ReadOnlyAdmin):
    """Teams' usage by day."""

    list_display = (
        "day",
        "account",
        "requests",
        "errors",
        dollars("charged_nanos"),
        dollars("upstream_cost_nanos"),
    )
    list_filter = ("day",)
    list_select_related = ("account__team",)
    search_fields = ("account__team__slug",)
    ordering = ("-day",)


@admin.register(TaskRun)
class TaskRunAdmin(ReadOnlyAdmin):
    """When periodic tasks last finished."""

    list_display = ("name", "finished_at", "result")
    list_filter = ("finished_at",)
    search_fields = ("name",)


@admin.register(CatalogueVersion)
class CatalogueVersionAdmin(ReadOnlyAdmin):
    """The counter that makes API processes reload the catalogue."""

    list_display = ("id", "version")
    list_filter = ("version",)
    search_fields = ("=version",)


@admin.register(LedgerAlert)
class LedgerAlertAdmin(ReadOnlyAdmin):
    """Alerts about money for a person to look at. Only *handled at* ever changes."""

    list_display = ("created_at", "kind", "reference", "detail", "handled_at")
    list_filter = ("kind", ("handled_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("=reference", "detail")
    ordering = ("-created_at",)
    actions = ("mark_as_handled",)

    @admin.action(description="Mark as handled", permissions=["handle"])
    def mark_as_handled(self, request: HttpRequest, alerts: QuerySet[LedgerAlert]) -> None:
        """Record when the alerts were handled, keeping the first time."""
        with transaction.atomic():
            for alert in alerts.filter(handled_at__isnull=True).select_for_update():
                alert.handled_at = timezone.now()
                alert.save(update_fields=["handled_at"])
                self.log_change(request, alert, "Handled.")

    def has_handle_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may handle alerts, which are otherwise read-only."""
        return request.user.has_perm("billing.change_ledgeralert")
