"""Admin pages for customers at Stripe, orders, Stripe events and credit lots."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from billing.admin.fields import ReadOnlyAdmin, dollars, dollars_of_cents
from billing.admin.refunds import RefundableOrderAdmin
from billing.models import CreditLot, LotMovement, Order, PaymentCustomer, StripeEvent
from billing.payments import webhooks


@admin.register(PaymentCustomer)
class PaymentCustomerAdmin(ReadOnlyAdmin):
    """Teams' customers at Stripe, and their saved cards."""

    list_display = ("team", "stripe_id", "card_brand", "card_last_four", "created_at")
    list_filter = ("card_brand", "created_at")
    list_select_related = ("team",)
    search_fields = ("=stripe_id", "team__name", "team__slug", "team__memberships__user__email")
    ordering = ("-created_at",)


@admin.register(Order)
class OrderAdmin(RefundableOrderAdmin):
    """Purchases of credits. Their state follows Stripe, and can't be edited."""

    list_display = (
        "number",
        "created_at",
        "team",
        "origin",
        "state",
        dollars_of_cents("amount_cents"),
        dollars_of_cents("tax_cents"),
        "payment_intent_id",
        "failure",
    )
    list_filter = ("state", "origin", "is_live", "created_at")
    list_select_related = ("team",)
    search_fields = (
        "id__istartswith",
        "=payment_intent_id",
        "=charge_id",
        "=session_id",
        "=invoice_id",
        "team__slug",
        "user__email",
    )
    ordering = ("-created_at",)


@admin.register(StripeEvent)
class StripeEventAdmin(ReadOnlyAdmin):
    """Received webhooks and their outcomes."""

    list_display = (
        "received_at",
        "type",
        "state",
        "outcome",
        "attempts",
        "object_id",
    )
    list_filter = ("state", "type", "received_at")
    search_fields = ("=id", "=object_id", "outcome")
    ordering = ("-received_at",)
    actions = ("handle_again",)

    @admin.action(description="Handle again", permissions=["handle"])
    def handle_again(self, request: HttpRequest, events: QuerySet[StripeEvent]) -> None:
        """Make the events due again. What is booked already is not booked twice."""
        for event in events:
            webhooks.replay(event)
            self.log_change(request, event, "Handled again.")
        self.message_user(
            request,
            "The events are handled again within a minute. Reload to see the outcome.",
            messages.SUCCESS,
        )

    def has_handle_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may have events handled again, although nobody may edit them."""
        return request.user.has_perm("billing.change_stripeevent")


@admin.register(CreditLot)
class CreditLotAdmin(ReadOnlyAdmin):
    """Credit and what remains of them, as of the account's last draw on its lots."""

    list_display = (
        "source",
        "account",
        dollars("amount_nanos"),
        dollars("remaining_nanos"),
        dollars("expired_nanos"),
        "created_at",
        "expires_at",
    )
    list_filter = ("is_paid", "created_at", "expires_at")
    list_select_related = ("transfer", "account__team")
    search_fields = ("=transfer__reference", "account__team__slug")
    ordering = ("-transfer",)

    @admin.display(description="Transfer", ordering="transfer")
    def source(self, lot: CreditLot) -> str:
        """Return the kind and reference of the transfer that gave the credit."""
        return f"{lot.transfer.kind} {lot.transfer.reference}"


@admin.register(LotMovement)
class LotMovementAdmin(ReadOnlyAdmin):
    """What refunds, claw-backs and collections drew from lots, and what was returned to them."""

    list_display = ("transfer", "lot", dollars("amount_nanos"))
    list_filter = ("transfer__kind",)
    list_select_related = ("transfer", "lot__transfer")
    search_fields = ("=transfer__reference", "lot__account__team__slug")
    ordering = ("-id",)
