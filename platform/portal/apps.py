"""The Django app."""

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_out


class PortalConfig(AppConfig):
    """Names the app, registers its checks and connects its receivers of signals."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers checks and receivers, which their import does."""
        from accounts.deletion import user_deleted  # noqa: PLC0415
        from portal import checks  # noqa: F401, PLC0415  (models must be loaded first)
        from portal.chat.deletion import forget_chats  # noqa: PLC0415
        from portal.chat.keys import revoke_at_sign_out  # noqa: PLC0415
        from portal.sign_in import receivers  # noqa: F401, PLC0415

        user_logged_out.connect(revoke_at_sign_out, dispatch_uid="revoke_chat_key")
        user_deleted.connect(forget_chats, dispatch_uid="forget_chats")
