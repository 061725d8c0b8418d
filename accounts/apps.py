"""The Django app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The app's configuration."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks by importing them."""
        from accounts import checks  # noqa: F401, PLC0415  (models must be loaded first)
