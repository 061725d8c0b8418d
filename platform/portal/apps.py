"""The Django app."""

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out


class PortalConfig(AppConfig):
    """Names the app, and ends what a session's end ends."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connects the receivers."""
        from portal.chat.keys import revoke_at_sign_out  # noqa: PLC0415  (needs the models)

        user_logged_out.connect(revoke_at_sign_out, dispatch_uid="revoke_chat_key")
