"""Admin pages of customers' webhooks, to look at: customers manage them themselves."""

from django.contrib import admin

from accounts.admin.logs import LogAdmin
from accounts.models import WebhookDelivery, WebhookEndpoint, WebhookEvent


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(LogAdmin):
    """Customers' webhook endpoints. Their secrets are not shown."""

    list_display = ("url", "team", "disabled_reason", "failing_since", "created_at")
    list_filter = ("disabled_reason", "created_at")
    list_select_related = ("team",)
    search_fields = ("url", "team__name", "team__slug")
    exclude = ("encrypted_secret", "encrypted_previous_secret")


@admin.register(WebhookEvent)
class WebhookEventAdmin(LogAdmin):
    """Events for customers' webhooks."""

    list_display = ("created_at", "type", "team", "id")
    list_filter = ("type", "created_at")
    list_select_related = ("team",)
    search_fields = ("=id", "team__name", "team__slug")
    date_hierarchy = "created_at"


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(LogAdmin):
    """Deliveries of events to endpoints."""

    list_display = (
        *("created_at", "event", "endpoint", "state", "status", "problem", "attempts"),
        "next_attempt_at",
    )
    list_filter = ("state", "created_at")
    list_select_related = ("event", "endpoint")
    search_fields = ("=event__id", "endpoint__url", "endpoint__team__slug")
    date_hierarchy = "created_at"
    # The customer's server wrote it, for the customer.
    exclude = ("excerpt",)
