"""The Django app."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """App configuration of the API."""

    name = "api"
    verbose_name = "API"
    default_auto_field = "django.db.models.BigAutoField"
