"""The Django app."""

from importlib import import_module

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """The portal: registers system checks, Celery tasks and signal receivers."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Import the modules that register checks, tasks and receivers."""
        for name in (
            "alerts.tasks",
            "emails.checks",
            "emails.tasks",
            "chat.receivers",
            "sign_in.receivers",
            "status.tasks",
        ):
            import_module(f"portal.{name}")  # the models must be loaded first
