"""Staff's pages for prices and the ledger. The ledger's are for reading."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from billing.admin.fields import MoneyAdmin, ReadOnlyAdmin, dollars
from billing.models import (
    CatalogueVersion,
    CreditAccount,
    KeySpend,
    LedgerAlert,
    PriceVersion,
    Product,
    RateWindow,
    Reservation,
    Transfer,
    UsageHour,
    UsageRecord,
)


@admin.register(Product)
class ProductAdmin(ModelAdmin):
    """Products, whose prices are versions of their own."""

    list_display = ("sku", "created_at")
    list_filter = ("created_at",)
    search_fields = ("sku",)
    readonly_fields = ("created_at",)


@admin.register(PriceVersion)
class PriceVersionAdmin(MoneyAdmin):
    """Prices. One that has taken effect is part of the books: a new version follows it."""

    list_display = (
        "product",
        "effective_from",
        dollars("input_nanos_per_million", "Input, $/1M"),
        dollars("cached_input_nanos_per_million", "Cached, $/1M"),
        dollars("output_nanos_per_million", "Output, $/1M"),
        dollars("input_cost_nanos_per_million", "Input costs us, $/1M"),
        dollars("output_cost_nanos_per_million", "Output costs us, $/1M"),
        "source",
    )
    list_filter = ("effective_from",)
    list_select_related = ("product",)
    search_fields = ("product__sku", "source")
    autocomplete_fields = ("product",)
    readonly_fields = ("created_at",)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allows to change a version only until it takes effect."""
        return _is_to_come(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allows to delete a version only until it takes effect."""
        return _is_to_come(obj) and super().has_delete_permission(request, obj)


def _is_to_come(version: PriceVersion | None) -> bool:
    return version is None or version.effective_from > timezone.now()


@admin.register(CreditAccount)
class CreditAccountAdmin(ReadOnlyAdmin):
    """Balances. (The platform's own accounts are sums of transfers: their rows stay at nought.)"""

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
        """Shows what the customer can spend."""
        return dollars("available_nanos")(account)


@admin.register(Transfer)
class TransferAdmin(ReadOnlyAdmin):
    """Movements of money."""

    list_display = (
        "id",
        "created_at",
        "kind",
        "debit_account",
        "credit_account",
        dollars("amount_nanos"),
        dollars("balance_nanos", "Customer's balance after it, $"),
        "reference",
        "memo",
    )
    list_filter = ("kind", "created_at")
    list_select_related = ("debit_account__team", "credit_account__team")
    search_fields = ("=reference", "customer__team__slug")
    ordering = ("-id",)


@admin.register(Reservation)
class ReservationAdmin(ReadOnlyAdmin):
    """Credits held for requests."""

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
    """Requests: what they used and cost. Prompts and completions are nowhere."""

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
    """What keys have spent of their budgets."""

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
    """What keys have used of their current minute."""

    list_display = ("key", "started_at", "requests", "tokens")
    list_filter = ("started_at",)
    list_select_related = ("key",)
    search_fields = ("key__name", "key__team__slug", "=key__last_four")


@admin.register(UsageHour)
class UsageHourAdmin(ReadOnlyAdmin):
    """Usage by the hour."""

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


@admin.register(CatalogueVersion)
class CatalogueVersionAdmin(ReadOnlyAdmin):
    """The counter that tells the relay's processes to load the catalogue anew."""

    list_display = ("id", "version")
    list_filter = ("version",)
    search_fields = ("=version",)


@admin.register(LedgerAlert)
class LedgerAlertAdmin(ReadOnlyAdmin):
    """What about money a person should look at. All that changes is that somebody did."""

    list_display = ("created_at", "kind", "reference", "detail", "handled_at")
    list_filter = ("kind", ("handled_at", admin.EmptyFieldListFilter), "created_at")
    search_fields = ("=reference", "detail")
    ordering = ("-created_at",)
    actions = ("mark_as_handled",)

    @admin.action(description="Mark as handled", permissions=["handle"])
    def mark_as_handled(self, request: HttpRequest, alerts: QuerySet[LedgerAlert]) -> None:
        """Notes when the alerts were looked at; the first time stays."""
        alerts.filter(handled_at__isnull=True).update(handled_at=timezone.now())

    def has_handle_permission(self, request: HttpRequest) -> bool:
        """Tells whether the user may change alerts, were they no ledger rows."""
        return request.user.has_perm("billing.change_ledgeralert")
