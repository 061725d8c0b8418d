"""Deliveries of alerts to targets, each of which ends once.

Alerts are also raised in SQL (`billing/ledger/sql`), so nothing is sent when they are: Celery looks
for them every few seconds. A round makes a delivery for each alert and target, and claims those
that are due; alerts of one kind that are due together share a message. A worker that is killed
leaves its claim to expire, and the message is sent again under the same id.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from api.models import AlertDelivery, AlertTarget
from billing.ledger.alerts import raise_alert, runbook_line
from billing.models import LedgerAlert
from portal.alerts.channels import DeliveryError, Message, send

log = structlog.get_logger(__name__)

# Alerts older than this are no longer sent.
MAX_AGE = timedelta(days=3)
# A target gets one message of a kind in this time; later alerts of the kind are collected.
REPEAT_AFTER = timedelta(minutes=5)
# Longer than a message can take, which has timeouts of its own.
CLAIM = timedelta(seconds=90)
FIRST_RETRY = timedelta(seconds=30)
SLOWEST_RETRY = timedelta(hours=1)
MAX_ATTEMPTS = 12  # about seven hours
# From this attempt on, an alert tells the other targets.
ATTEMPTS_BEFORE_ALERT = 3
BATCH = 500

State = AlertDelivery.State


def add_deliveries() -> int:
    """Add the deliveries of new alerts. Return how many were new.

    A target gets alerts raised since it was added. Test alerts have their delivery already, and a
    failing target doesn't get the alert about itself.
    """
    now = timezone.now()
    added = 0
    for target in AlertTarget.objects.filter(is_enabled=True):
        has_delivery = AlertDelivery.objects.filter(alert=OuterRef("pk"), target=target)
        alerts = LedgerAlert.objects.filter(
            ~Exists(has_delivery),
            handled_at__isnull=True,
            created_at__gte=max(target.created_at, now - MAX_AGE),
        ).exclude(Q(kind="test") | Q(kind=FAILING, reference__startswith=_failing_prefix(target)))
        rows = [
            AlertDelivery(alert=alert, target=target)
            for alert in alerts[:BATCH]
            if _is_wanted(target, alert)
        ]
        AlertDelivery.objects.bulk_create(rows, ignore_conflicts=True)
        added += len(rows)
    return added


def claim_due() -> list[uuid.UUID]:
    """Claim the deliveries that are due, and return the ids of the messages to send."""
    now = timezone.now()
    with transaction.atomic():
        due = list(
            AlertDelivery.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=State.WAITING, next_attempt_at__lte=now, target__is_enabled=True)
            .select_related("alert")
            .order_by("pk")[:BATCH]
        )
        due = _without_acknowledged(due, now)
        retried = [each for each in due if each.message_id is not None]
        claimed = retried + _put_into_messages([each for each in due if each.message_id is None])
        for each in claimed:
            each.attempts += 1
            each.next_attempt_at = now + CLAIM
        fields = ["message_id", "attempts", "next_attempt_at"]
        AlertDelivery.objects.bulk_update(claimed, fields)
    return list(dict.fromkeys(each.message_id for each in claimed if each.message_id is not None))


def send_message(message_id: uuid.UUID) -> bool:
    """Send a claimed message, and record how that went. Return whether it was delivered."""
    deliveries = list(
        AlertDelivery.objects.filter(message_id=message_id, state=State.WAITING)
        .select_related("alert", "target")
        .order_by("alert_id")
    )
    if not deliveries:
        return False
    target = deliveries[0].target
    alerts = [each.alert for each in deliveries]
    message = Message(f"alert_{message_id.hex}", alerts[0].kind, alerts)
    try:
        send(target, message)
    except DeliveryError as error:
        _record_failure(target, deliveries, str(error))
        return False
    now = timezone.now()
    with transaction.atomic():
        _update(deliveries, state=State.SENT, ended_at=now, error="")
        AlertTarget.objects.filter(pk=target.pk).update(
            last_sent_at=now, failing_since=None, last_error=""
        )
    return True


FAILING = "alert_target_failing"


def _failing_prefix(target: AlertTarget) -> str:
    return f"target {target.pk} "


def _is_wanted(target: AlertTarget, alert: LedgerAlert) -> bool:
    everything = target.least_severity == AlertTarget.Severity.WARNING
    return everything or runbook_line(alert.kind).severity == target.least_severity


def _without_acknowledged(due: list[AlertDelivery], now: datetime) -> list[AlertDelivery]:
    """Skip the alerts that staff handled before they were sent to anyone; return the others."""
    skipped = [
        each
        for each in due
        if each.alert.handled_at is not None and each.alert.kind != "test" and not each.attempts
    ]
    _update(skipped, state=State.SKIPPED, ended_at=now)
    return [each for each in due if each not in skipped]


def _put_into_messages(deliveries: list[AlertDelivery]) -> list[AlertDelivery]:
    """Give each target's alerts of a kind one message. Return those whose time has come."""
    groups: dict[tuple[int, str], list[AlertDelivery]] = defaultdict(list)
    for each in deliveries:
        groups[each.target_id, each.alert.kind].append(each)
    recent = set(
        AlertDelivery.objects.filter(
            state=State.SENT,
            ended_at__gt=timezone.now() - REPEAT_AFTER,
            target_id__in={target for target, _ in groups},
        )
        .exclude(alert__kind="test")
        .values_list("target_id", "alert__kind")
    )
    claimed = []
    for place, group in groups.items():
        if place in recent:
            continue
        message_id = uuid.uuid4()
        for each in group:
            each.message_id = message_id
        claimed += group
    return claimed


def _record_failure(target: AlertTarget, deliveries: list[AlertDelivery], error: str) -> None:
    """Plan the next attempt, or give up; show the failure at the target."""
    attempts = max(each.attempts for each in deliveries)
    log.warning("alert_not_delivered", target=target.name, attempts=attempts, error=error)
    now = timezone.now()
    with transaction.atomic():
        if attempts >= MAX_ATTEMPTS:
            _update(deliveries, state=State.FAILED, ended_at=now, error=error)
        else:
            pause = min(FIRST_RETRY * 2 ** (attempts - 1), SLOWEST_RETRY)
            _update(deliveries, next_attempt_at=now + pause, error=error)
        AlertTarget.objects.filter(pk=target.pk).update(
            failing_since=Coalesce("failing_since", Now()), last_error=error
        )
        target.refresh_from_db(fields=["failing_since"])
        if attempts >= ATTEMPTS_BEFORE_ALERT:
            since = f"{target.failing_since:%Y-%m-%d %H:%M:%S}"
            detail = f"{target.name} has received no alerts since {since} UTC. {error}"
            raise_alert(FAILING, f"{_failing_prefix(target)}since {since}", detail)


def _update(deliveries: Iterable[AlertDelivery], **values: object) -> None:
    pks = [each.pk for each in deliveries]
    AlertDelivery.objects.filter(pk__in=pks, state=State.WAITING).update(**values)
