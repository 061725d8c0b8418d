"""What Celery does for the pages."""

from smtplib import SMTPException
from typing import Any

from celery import shared_task

from portal import mail, notices


@shared_task(
    autoretry_for=(SMTPException, OSError), retry_backoff=30, retry_backoff_max=3600, max_retries=8
)
def send_mail(name: str, to: str, context: dict[str, Any]) -> None:
    """Sends a letter; a mail server that is away is asked again for some hours."""
    mail.send(name, to, context)


@shared_task
def send_notices() -> int:
    """Sends the notices that are due, of whatever kind. Returns how many."""
    return notices.send_due()
