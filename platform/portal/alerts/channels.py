"""Channels for messages about alerts: email, Slack and signed webhooks.

A message holds no secret, prompt or key: an alert has ids, amounts and model names, and whatever
looks like a key is masked. An answer's body is never read, so nothing of it is stored either.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from smtplib import SMTPException
from typing import Any

import httpx
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from accounts.encryption import DecryptionError
from accounts.masking import mask_secrets
from accounts.webhooks.signing import signature_headers, signing_key
from api.alert_targets import read_secret
from api.models import AlertTarget
from api.service import current_service
from api.upstream_hosts import guarded_transport, problem_with
from billing.ledger.alerts import RunbookLine, runbook_line
from billing.models import LedgerAlert
from portal.emails import sending

TIMEOUT = httpx.Timeout(10.0, connect=5.0)
MOST_SHOWN = 10
_COLOURS = {"critical": "#b42318", "warning": "#b54708"}


class DeliveryError(Exception):
    """A message could not be delivered. The text is for staff, and has no secret."""


@dataclass(frozen=True)
class Message:
    """Alerts of one kind, for one target. `id` is the same for each attempt."""

    id: str
    kind: str
    alerts: list[LedgerAlert]

    @property
    def line(self) -> RunbookLine:
        """The runbook's line about them."""
        return runbook_line(self.kind)

    @property
    def title(self) -> str:
        """One line that names kind and number."""
        count = f" ({len(self.alerts)})" if len(self.alerts) > 1 else ""
        return f"{self.line.severity.capitalize()}: {self.kind}{count}"

    @property
    def url(self) -> str:
        """The admin's page of the kind's alerts."""
        page = reverse("admin:billing_ledgeralert_changelist")
        return f"{settings.BASE_URL.rstrip('/')}{page}?kind={self.kind}"

    @property
    def items(self) -> list[dict[str, str]]:
        """The first alerts as a message shows them."""
        return [
            {
                "reference": mask_secrets(alert.reference),
                "detail": mask_secrets(alert.detail),
                "created_at": alert.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            for alert in self.alerts[:MOST_SHOWN]
        ]

    @property
    def left_out(self) -> int:
        """How many alerts are counted but not shown."""
        return max(0, len(self.alerts) - MOST_SHOWN)


def send(target: AlertTarget, message: Message) -> None:
    """Deliver the message to the target, once. Raise DeliveryError."""
    _SENDERS[target.channel](target, message)


def _send_email(target: AlertTarget, message: Message) -> None:
    context = {"message": message, "line": message.line, "alerts": message.items}
    try:
        sending.send("alert", target.address, context)
    except (SMTPException, OSError) as error:
        raise DeliveryError(f"The mail server refused it: {type(error).__name__}.") from None


def _send_to_slack(target: AlertTarget, message: Message) -> None:
    line = message.line
    lines = [f"{each['reference']}: {each['detail']}" for each in message.items]
    if message.left_out:
        lines.append(f"and {message.left_out} more")
    payload = {
        "text": _escaped(f"{current_service().name}: {message.title}"),
        "attachments": [
            {
                "color": _COLOURS[line.severity],
                "title": _escaped(f"{message.kind}: {line.meaning}"),
                "title_link": message.url,
                "text": _escaped("\n".join(lines)),
                "footer": _escaped(f"What to do: {line.action}"),
            }
        ],
    }
    secret_url = _secret_of(target)
    _post(secret_url, json.dumps(payload).encode(), {})


def _send_to_webhook(target: AlertTarget, message: Message) -> None:
    line = message.line
    now = timezone.now()
    payload = {
        "type": "alert.raised",
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "data": {
            "kind": message.kind,
            "severity": line.severity,
            "meaning": line.meaning,
            "runbook": line.action,
            "count": len(message.alerts),
            "alerts": message.items,
            "url": message.url,
        },
    }
    body = json.dumps(payload).encode()
    try:
        key = signing_key(_secret_of(target))
    except ValueError:
        raise DeliveryError("The signing secret is missing.") from None
    _post(target.address, body, signature_headers([key], message.id, now, body))


def _secret_of(target: AlertTarget) -> str:
    try:
        return read_secret(target)
    except DecryptionError:
        raise DeliveryError("The secret can't be read. Enter it again.") from None


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    """Post JSON. Raise DeliveryError for anything but a 2xx, and for a host that isn't allowed."""
    if not url:
        raise DeliveryError("The URL is missing.")
    if problem_with(url):
        raise DeliveryError("UPSTREAM_HOSTS doesn't allow its host.")
    headers = {"content-type": "application/json", "user-agent": "tollgate", **headers}
    try:
        with (
            httpx.Client(transport=guarded_transport(), timeout=TIMEOUT) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            status = answer.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The error's text may name the URL, which is secret for Slack.
        raise DeliveryError(f"It can't be reached: {type(error).__name__}.") from None
    if not 200 <= status < 300:
        raise DeliveryError(f"It answered with status {status}.")


def _escaped(text: str) -> str:
    """Return a text that Slack takes literally: no mention of a channel, no link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_SENDERS: dict[str, Callable[[AlertTarget, Message], Any]] = {
    AlertTarget.Channel.EMAIL: _send_email,
    AlertTarget.Channel.SLACK: _send_to_slack,
    AlertTarget.Channel.WEBHOOK: _send_to_webhook,
}
