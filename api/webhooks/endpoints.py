"""Members' actions on their team's webhook endpoints, each with its entry in the audit log.

Callers check permissions first (`Actor.may_manage_webhooks`). Signing secrets are encrypted for the
team, returned once and never shown again.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit, encryption
from accounts.access import Actor
from accounts.models import Team, WebhookDelivery, WebhookEndpoint
from accounts.webhooks.events import EventType, publish_to
from accounts.webhooks.signing import new_secret
from api.webhooks.client import problem_with

MAX_ENDPOINTS = 10
OVERLAP = timedelta(hours=24)

State = WebhookDelivery.State
Reason = WebhookEndpoint.DisabledReason


class WebhookError(Exception):
    """An action that is not possible; the message is for the customer."""


def create(
    actor: Actor,
    url: str,
    *,
    events: Sequence[str],
    low_balance_nanos: int,
    ip_address: str | None,
) -> tuple[WebhookEndpoint, str]:
    """Add an endpoint and return it with its signing secret. No `events` means all.

    Raise WebhookError for a URL that is not allowed, and for more than MAX_ENDPOINTS.
    """
    _require_url(url)
    secret = new_secret()
    with transaction.atomic():
        Team.objects.select_for_update(no_key=True).get(pk=actor.team.pk)
        if WebhookEndpoint.objects.filter(team=actor.team).count() >= MAX_ENDPOINTS:
            text = _("A team has at most {limit} endpoints. Delete one first.")
            raise WebhookError(text.format(limit=MAX_ENDPOINTS))
        endpoint = WebhookEndpoint.objects.create(
            team=actor.team,
            url=url,
            events=list(events),
            low_balance_nanos=low_balance_nanos,
            encrypted_secret=encryption.encrypt(secret, _purpose(actor.team.pk)),
        )
        audit.record(actor, "webhook.created", url, ip_address=ip_address)
    return endpoint, secret


def update(
    actor: Actor,
    endpoint: WebhookEndpoint,
    *,
    url: str,
    events: Sequence[str],
    low_balance_nanos: int,
    ip_address: str | None,
) -> None:
    """Change an endpoint. Deliveries that wait go to its new URL. Raise WebhookError."""
    _require_url(url)
    new = {"url": url, "events": list(events), "low_balance_nanos": low_balance_nanos}
    changed = sorted(name for name, value in new.items() if getattr(endpoint, name) != value)
    if not changed:
        return
    with transaction.atomic():
        WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**new)
        detail = {"fields": changed}
        audit.record(actor, "webhook.changed", url, detail=detail, ip_address=ip_address)


def rotate_secret(actor: Actor, endpoint: WebhookEndpoint, *, ip_address: str | None) -> str:
    """Replace the signing secret and return the new one.

    For OVERLAP, messages are signed with both.
    """
    secret = new_secret()
    with transaction.atomic():
        row = WebhookEndpoint.objects.select_for_update(no_key=True).get(pk=endpoint.pk)
        row.encrypted_previous_secret = row.encrypted_secret
        row.previous_secret_expires_at = timezone.now() + OVERLAP
        row.encrypted_secret = encryption.encrypt(secret, _purpose(row.team_id))
        row.save()
        audit.record(actor, "webhook.secret_rotated", row.url, ip_address=ip_address)
    return secret


def disable(actor: Actor, endpoint: WebhookEndpoint, *, ip_address: str | None) -> None:
    """Send the endpoint nothing until it is enabled."""
    with transaction.atomic():
        if _disable(endpoint, Reason.MEMBER):
            audit.record(actor, "webhook.disabled", endpoint.url, ip_address=ip_address)


def disable_by_service(endpoint: WebhookEndpoint, reason: Reason) -> None:
    """Send the endpoint nothing until a member enables it. Call it in a transaction."""
    if _disable(endpoint, reason):
        actor = Actor(team=endpoint.team)
        detail = {"reason": reason.label}
        audit.record(actor, "webhook.disabled", endpoint.url, detail=detail)


def enable(actor: Actor, endpoint: WebhookEndpoint, *, ip_address: str | None) -> None:
    """Send the endpoint the events from now on."""
    with transaction.atomic():
        disabled = WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at__isnull=False)
        if disabled.update(disabled_at=None, disabled_reason="", failing_since=None):
            audit.record(actor, "webhook.enabled", endpoint.url, ip_address=ip_address)


def delete(actor: Actor, endpoint: WebhookEndpoint, *, ip_address: str | None) -> None:
    """Delete an endpoint with its deliveries."""
    with transaction.atomic():
        # Locked before its deliveries are looked for: an event may just be published.
        locked = WebhookEndpoint.objects.select_for_update().filter(pk=endpoint.pk).first()
        if locked is not None:
            audit.record(actor, "webhook.deleted", locked.url, ip_address=ip_address)
            locked.delete()


def send_test(endpoint: WebhookEndpoint) -> None:
    """Send the endpoint a test event, whatever events it wants. Raise WebhookError."""
    _require_enabled(endpoint)
    publish_to([endpoint], EventType.TEST, {"message": "This is a test event."})


def replay(delivery: WebhookDelivery) -> None:
    """Send an event again that was delivered or given up, with all its retries.

    Raise WebhookError if its endpoint is disabled, or if it is still being delivered.
    """
    _require_enabled(delivery.endpoint)
    ended = WebhookDelivery.objects.filter(pk=delivery.pk).exclude(state=State.WAITING)
    if not ended.update(
        state=State.WAITING,
        attempts_before_replay=F("attempts"),
        next_attempt_at=timezone.now(),
        ended_at=None,
    ):
        raise WebhookError(_("This event is still being delivered."))


def signing_secrets(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """Return the secrets to sign with: the current one, and the previous one until it expires.

    Raise accounts.encryption.DecryptionError.
    """
    secrets = [encryption.decrypt(endpoint.encrypted_secret, _purpose(endpoint.team_id))]
    expires_at = endpoint.previous_secret_expires_at
    if endpoint.encrypted_previous_secret and expires_at is not None and now < expires_at:
        previous = endpoint.encrypted_previous_secret
        secrets.append(encryption.decrypt(previous, _purpose(endpoint.team_id)))
    return secrets


def reencrypt(endpoint: WebhookEndpoint) -> bool:
    """Encrypt an endpoint's secrets under the newest key. Return whether that changed them.

    Raise accounts.encryption.DecryptionError.
    """
    with transaction.atomic():
        rows = WebhookEndpoint.objects.select_for_update(no_key=True)
        row = rows.filter(pk=endpoint.pk).first()
        if row is None:
            return False
        changed = []
        for name in ("encrypted_secret", "encrypted_previous_secret"):
            stored = getattr(row, name)
            if stored and not encryption.is_current(stored):
                purpose = _purpose(row.team_id)
                plaintext = encryption.decrypt(stored, purpose)
                setattr(row, name, encryption.encrypt(plaintext, purpose))
                changed.append(name)
        if changed:
            row.save(update_fields=changed)
    return bool(changed)


def _disable(endpoint: WebhookEndpoint, reason: Reason) -> bool:
    """Disable an enabled endpoint and cancel what it waits for. Return whether it was enabled."""
    now = timezone.now()
    enabled = WebhookEndpoint.objects.filter(pk=endpoint.pk, disabled_at__isnull=True)
    if not enabled.update(disabled_at=now, disabled_reason=reason):
        return False
    waiting = WebhookDelivery.objects.filter(endpoint=endpoint, state=State.WAITING)
    waiting.update(state=State.CANCELED, ended_at=now)
    return True


def _require_url(url: str) -> None:
    if problem := problem_with(url):
        raise WebhookError(_(problem))


def _require_enabled(endpoint: WebhookEndpoint) -> None:
    if not endpoint.is_enabled:
        raise WebhookError(_("Enable the endpoint first."))


def _purpose(team_id: int) -> str:
    return f"webhook secret of team {team_id}"
