"""The Django app."""

from importlib import import_module

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PortalConfig(AppConfig):
    """The portal: registers system checks, Celery tasks, signal receivers and staff's roles."""

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
        roles = import_module("portal.console.roles")
        # This app is the last one, so every permission exists by then.
        post_migrate.connect(roles.sync_roles, sender=self)
