"""The customer's pages, one package for each area."""

from django.urls import include, path

AREAS = (
    "home",
    "dashboard",
    "keys",
    "authorize",
    "find",
    "usage",
    "statement",
    "billing",
    "chat",
    "playground",
    "catalogue",  # before the docs, whose addresses it shares
    "docs",
    "status",
    "team",
    "webhooks",
    "profile",
    "language",
    "sign_in",
    "design",
    "mailbox",
)

urlpatterns = [path("", include(f"portal.{area}.urls")) for area in AREAS]
