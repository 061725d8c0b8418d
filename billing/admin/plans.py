"""Staff's pages for plans that are sold: offers to change, subscriptions and payments to read."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from unfold.admin import TabularInline

from billing.admin.fields import (
    CentsField,
    MoneyAdmin,
    ReadOnlyAdmin,
    dollars,
    dollars_of_cents,
)
from billing.models import PlanOffer, PlanPrice, Subscription, SubscriptionPayment
from billing.models.plans import LEAST_PRICE_CENTS

_PRICE = dollars_of_cents("price_cents", "Price a month, $")
_PAID = dollars_of_cents("amount_cents", "Paid, $")


@admin.register(PlanOffer)
class PlanOfferAdmin(MoneyAdmin):
    """What plans cost. Another price or credit is for those who subscribe from then on."""

    list_display = (
        *("plan", _PRICE, dollars("credit_nanos", "Credits a month, $")),
        *("credit_days", "position", "is_offered"),
    )
    list_filter = ("is_offered",)
    list_select_related = ("plan",)
    search_fields = ("plan__name", "plan__title")
    autocomplete_fields = ("plan",)

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Returns the form's field for a column: prices are typed in dollars."""
        if db_field.name == "price_cents":
            return CentsField(
                least_cents=LEAST_PRICE_CENTS, label="Price, $", help_text=db_field.help_text
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(PlanPrice)
class PlanPriceAdmin(ReadOnlyAdmin):
    """What plans were sold for at some time, and still are to who subscribed then."""

    list_display = (
        *("plan", _PRICE, dollars("credit_nanos", "Credits a month, $")),
        *("credit_days", "is_live", "stripe_id", "created_at"),
    )
    list_filter = ("is_live", "plan")
    list_select_related = ("plan",)
    search_fields = ("=stripe_id", "plan__name")


class PaymentsOfSubscription(TabularInline):
    """What was paid for a subscription."""

    model = SubscriptionPayment
    extra = 0
    fields: ClassVar[Any] = (
        *("invoice_id", _PAID, dollars("credit_nanos", "Credits, $")),
        *("paid_at", "payment_intent_id"),
    )
    readonly_fields: ClassVar[Any] = fields
    ordering = ("-paid_at",)
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no: Stripe tells of payments."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no."""
        return False


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Teams' plans. Customers change theirs on their page, staff at Stripe."""

    list_display = (
        *("team", "price", "next_price", "status", "cancel_at_period_end"),
        *("current_period_end", "is_duplicate", "created_at", "ended_at"),
    )
    list_filter = ("status", "is_live", "is_duplicate", "cancel_at_period_end", "created_at")
    list_select_related = ("team", "price__plan", "next_price__plan")
    search_fields = ("team__name", "team__slug", "=stripe_id", "=session_id")
    ordering = ("-created_at",)
    inlines = (PaymentsOfSubscription,)


@admin.register(SubscriptionPayment)
class SubscriptionPaymentAdmin(ReadOnlyAdmin):
    """Paid months of plans, and the credits that each granted."""

    list_display = (
        *("invoice_id", "team", "subscription", _PAID),
        *(dollars("credit_nanos", "Credits, $"), "payment_intent_id", "paid_at"),
    )
    list_filter = ("paid_at",)
    list_select_related = ("subscription__team", "subscription__price__plan")
    search_fields = ("=invoice_id", "=payment_intent_id", "=charge_id", "subscription__team__slug")
    ordering = ("-paid_at",)

    @admin.display(description="Team")
    def team(self, payment: SubscriptionPayment) -> str:
        """Shows whose payment it is."""
        return str(payment.subscription.team)
