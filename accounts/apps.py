"""The Django app, and the admin's app with our admin site."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class AccountsConfig(AppConfig):
    """The app's configuration."""

    name = "accounts"
    default = True
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks by importing them."""
        from accounts import checks  # noqa: F401, PLC0415  (models must be loaded first)


class StaffConfig(admin_apps.AdminConfig):
    """The configuration of Django's admin."""

    default_site = "accounts.staff_site.StaffSite"
    default = False
