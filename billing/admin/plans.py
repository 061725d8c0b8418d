"""Admin pages for plans: offers, prices, subscriptions and their payments."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from unfold.admin import TabularInline

from accounts.staff_rules import ReadOnly
from billing.admin.fields import (
    CentsAdminField,
    MoneyAdmin,
    ReadOnlyAdmin,
    dollars,
    dollars_of_cents,
)
from billing.models import PlanOffer, PlanPrice, PlanRefund, Subscription, SubscriptionPayment
from billing.models.plans import MIN_PRICE_CENTS

_PRICE = dollars_of_cents("price_cents", "Price per month, $")
_PAID = dollars_of_cents("amount_cents", "Paid, $")


@admin.register(PlanOffer)
class PlanOfferAdmin(MoneyAdmin):
    """Offers. A new price or credit applies to new subscribers only."""

    list_display = (
        *("plan", _PRICE, dollars("credit_nanos", "Credits per month, $")),
        *("credit_days", "position", "is_offered"),
    )
    list_filter = ("is_offered",)
    list_select_related = ("plan",)
    search_fields = ("plan__name", "plan__title")
    autocomplete_fields = ("plan",)

    def formfield_for_dbfield(
        self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Return the form field of a model field: prices are entered in dollars."""
        if db_field.name == "price_cents":
            return CentsAdminField(
                min_cents=MIN_PRICE_CENTS, label="Price, $", help_text=db_field.help_text
            )
        return super().formfield_for_dbfield(db_field, request, **kwargs)


@admin.register(PlanPrice)
class PlanPriceAdmin(ReadOnlyAdmin):
    """Current and earlier prices of plans. Subscribers keep the price they subscribed at."""

    list_display = (
        *("plan", _PRICE, dollars("credit_nanos", "Credits per month, $")),
        *("credit_days", "is_live", "stripe_id", "created_at"),
    )
    list_filter = ("is_live", "plan")
    list_select_related = ("plan",)
    search_fields = ("=stripe_id", "plan__name")


class PaymentsOfSubscription(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold's annotations
    """The payments of a subscription."""

    model = SubscriptionPayment
    extra = 0
    fields: ClassVar[Any] = (
        *("invoice_id", _PAID, dollars("credit_nanos", "Credits, $")),
        *("paid_at", "payment_intent_id"),
    )
    readonly_fields: ClassVar[Any] = fields
    ordering = ("-paid_at",)
    show_change_link = True


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin):
    """Subscriptions. Customers change theirs on the billing page, staff at Stripe."""

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
    """Paid invoices of plans, and the credits each granted."""

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
        """Return the team that paid."""
        return str(payment.subscription.team)


@admin.register(PlanRefund)
class PlanRefundAdmin(ReadOnlyAdmin):
    """Refunds of plans' payments. They are made in Stripe's dashboard."""

    list_display = (
        *("stripe_id", "team", "payment", dollars_of_cents("amount_cents"), "state"),
        *(dollars("credit_nanos", "Credits taken back, $"), dollars("owed_nanos", "Owed, $")),
        *("collected_at", "created_at", "ended_at"),
    )
    list_filter = ("state", "created_at")
    list_select_related = ("payment__subscription__team",)
    search_fields = ("=stripe_id", "=payment__invoice_id", "payment__subscription__team__slug")
    ordering = ("-created_at",)

    @admin.display(description="Team")
    def team(self, refund: PlanRefund) -> str:
        """Return the team that paid."""
        return str(refund.payment.subscription.team)
