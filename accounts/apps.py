"""The Django app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Names the app and registers its checks."""

    name = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks, which their import does."""
        from accounts import checks  # noqa: F401, PLC0415  (models must be loaded first)
