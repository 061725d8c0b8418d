"""The Django app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Names the app."""

    name = "billing"
    default_auto_field = "django.db.models.BigAutoField"
