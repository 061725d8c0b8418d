"""System checks of the email settings.

W001 (`--deploy`): emails are not sent but kept in a folder.
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
    """Return a warning if emails, which contain sign-in codes, are stored instead of sent."""
    if not settings.MAIL_DIR:
        return []
    return [
        checks.Warning(
            "MAIL_DIR is set: emails are not sent, and with DEVELOPMENT=1 anyone can read them.",
            hint="Unset MAIL_DIR and DEVELOPMENT, and set EMAIL_HOST.",
            id="portal.W001",
        )
    ]
