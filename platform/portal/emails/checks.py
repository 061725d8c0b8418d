"""System checks of the email settings.

W001 (`--deploy`): anybody can read every email at /dev/mail.
"""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks


@checks.register(checks.Tags.security, deploy=True)
def check_mail_is_sent(
    app_configs: Sequence[AppConfig] | None, **_options: Any
) -> list[checks.CheckMessage]:
    """Return a warning where letters, with codes that open accounts, are shown to anybody."""
    if not settings.MAIL_DIR:
        return []
    return [
        checks.Warning(
            "MAIL_DIR is set: letters are not sent, and everybody can read them at /dev/mail.",
            hint="Unset MAIL_DIR and set EMAIL_HOST.",
            id="portal.W001",
        )
    ]
