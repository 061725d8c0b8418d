"""Rendering and sending an email: `templates/mail/<name>.subject.txt`, `.txt` and `.html`.

`send` sends at once: for codes and links that somebody waits for. `send_later` leaves it to Celery
after the transaction commits: for notices, which must not delay or break what they report.
"""

from collections.abc import Mapping
from email.utils import formataddr, parseaddr
from smtplib import SMTPException
from typing import Any

import structlog
from celery import shared_task
from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import translation
from kombu.exceptions import OperationalError

from accounts.languages import language_for_address
from api.service import current_service
from portal.brand.current import Preview, cache
from portal.brand.texts import email_blocks, fill
from portal.emails.texts import EMAILS, values_for

log = structlog.get_logger(__name__)

# The language for recipients without one of their own. It is in the context, so that workers of the
# last release, whose task has no argument for it, send the email too.
_LANGUAGE = "sender_language"


def write(
    name: str, to: str, context: Mapping[str, Any], preview: Preview | None = None
) -> EmailMultiAlternatives:
    """Return the email `name` to the address `to`, as text and as HTML.

    Its templates get `context`, `service` (the service's row), `brand`, `base_url` and `to`. With
    an `unsubscribe_url` in the context, mail programs offer to unsubscribe with one click. Staff
    may have written another subject and body; `preview` shows those of a draft.
    """
    service = preview.service if preview else current_service()
    brand = preview.brand if preview else cache.brand_of(service)
    values = {**context, "service": service, "brand": brand, "to": to}
    values["base_url"] = settings.BASE_URL.rstrip("/")
    written = brand.email_text(name) if name in EMAILS else {}
    placed = values_for(name, values) if written else {}
    subject = written.get("subject") or render_to_string(f"mail/{name}.subject.txt", values)
    subject = fill(subject, placed) if written.get("subject") else subject
    values["subject"] = subject = " ".join(subject.split())
    template = name
    if body := written.get("body"):
        values |= {"words": fill(body, placed), "blocks": email_blocks(body, placed)}
        template = "written"
    text = render_to_string(f"mail/{template}.txt", values).strip() + "\n"
    email = EmailMultiAlternatives(
        subject, text, _sender(service.name), [to], headers=_headers(context)
    )
    email.attach_alternative(render_to_string(f"mail/{template}.html", values), "text/html")
    return email


def send(name: str, to: str, context: Mapping[str, Any]) -> None:
    """Send the email now, in the recipient's language; those for staff are in English.

    Raise SMTPException or OSError where the mail server refuses.
    """
    language = language_for_address(to) if name in EMAILS else settings.LANGUAGE_CODE
    with translation.override(language):
        email = write(name, to, context)
    email.send()


# Queued messages and the beat schedule name the task by its first place: the name stays.
@shared_task(
    name="portal.tasks.send_mail",
    autoretry_for=(SMTPException, OSError),
    retry_backoff=30,
    retry_backoff_max=3600,
    max_retries=8,
)
def send_email(name: str, to: str, context: dict[str, Any]) -> None:
    """Send an email; retry for some hours while the mail server is unavailable."""
    with translation.override(context.get(_LANGUAGE, settings.LANGUAGE_CODE)):
        send(name, to, context)


def send_later(name: str, to: str, context: Mapping[str, Any]) -> None:
    """Have Celery send the email after the transaction; `context` is what JSON can carry."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    queued = {**context, _LANGUAGE: language}
    transaction.on_commit(lambda: _enqueue(name, to, queued))


def _enqueue(name: str, to: str, context: dict[str, Any]) -> None:
    try:
        send_email.apply_async((name, to, context), retry=False)
    except OperationalError:
        log.exception("mail_not_queued", mail=name)


def _headers(context: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers for a button to unsubscribe (RFC 2369 and 8058), if there is a link."""
    if "unsubscribe_url" not in context:
        return {}
    return {
        "List-Unsubscribe": f"<{context['unsubscribe_url']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _sender(service_name: str) -> str:
    """Return the sender: the operator's, under the service's name unless they gave one."""
    name, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    return formataddr((name or service_name, address))
