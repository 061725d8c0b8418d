"""The Django app."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Names the app, registers its checks and connects its receivers of signals."""

    name = "portal"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Registers checks and receivers, which their import does."""
        from portal import checks  # noqa: F401, PLC0415  (models must be loaded first)
        from portal.chat import receivers as of_chat  # noqa: F401, PLC0415
        from portal.sign_in import receivers as of_sign_in  # noqa: F401, PLC0415
