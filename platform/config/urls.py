"""The pages and the management API. The relay's paths never come here (config/asgi.py)."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from api.openapi.view import openapi_json
from billing.payments.webhooks import stripe_webhook

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("portal.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", include("portal.console.urls")),
    path("admin/", admin.site.urls),
    path("api/manage/v1/", include("api.manage.urls")),
    path("webhooks/stripe", stripe_webhook, name="stripe_webhook"),
    path("openapi.json", openapi_json, name="openapi"),
]

handler429 = "portal.ui.rate_limits.too_many"  # allauth's limits; Django itself has none
handler500 = "config.connections.server_error"
