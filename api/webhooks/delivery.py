"""Deliveries of events to customers' endpoints: at least once, each attempt by one worker.

A claim moves the next attempt. A worker that is killed leaves it to expire, and the event is sent
again under the same `webhook-id`. Calls run in threads, which wait most of their time; the database
is only used outside them. SLOTS bounds the rounds at the same time, so that slow endpoints never
occupy all of Celery's workers.
"""

import json
import random
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, timedelta
from typing import NamedTuple

import psycopg
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts import encryption
from accounts.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from accounts.webhooks.events import EventType
from accounts.webhooks.signing import signature_headers, signing_key
from api.webhooks import endpoints
from api.webhooks.client import Answer, WebhookClient
from billing.failpoints import failpoint

log = structlog.get_logger(__name__)

SLOTS = 2
THREADS = 64
ROUND_SECONDS = 30
# A team's next deliveries are claimed when these are done: it can't occupy all threads.
MOST_OF_TEAM, MOST_OF_ENDPOINT = 8, 4
CLAIM_SECONDS = 45
# 15 s, 45 s, 2 min, 7 min, 20 min, 1 h, 3 h, then 8 h: about 28 hours.
FIRST_RETRY, SLOWEST_RETRY = timedelta(seconds=15), timedelta(hours=8)
RETRY_FACTOR = 3
JITTER = 0.2
MAX_ATTEMPTS = 11
DISABLE_AFTER = timedelta(days=5)
KEPT = timedelta(days=30)
# The namespace of the advisory locks, which all users of a database share.
_LOCKS = 0x77686B73

_CLAIM = """
UPDATE accounts_webhookdelivery SET attempts = attempts + 1, attempted_at = %(now)s,
    next_attempt_at = %(claimed_until)s
WHERE id IN (
    SELECT d.id FROM (
        SELECT due.id, row_number() OVER (PARTITION BY e.team_id ORDER BY due.next_attempt_at) AS n
        FROM accounts_webhookendpoint e
        CROSS JOIN LATERAL (
            SELECT w.id, w.next_attempt_at FROM accounts_webhookdelivery w
            WHERE w.endpoint_id = e.id AND w.state = 'waiting' AND w.next_attempt_at <= %(now)s
            ORDER BY w.next_attempt_at LIMIT %(most_of_endpoint)s) due
        WHERE e.team_id <> ALL (%(busy_teams)s)) ranked
    JOIN accounts_webhookdelivery d ON d.id = ranked.id
    WHERE ranked.n <= %(most_of_team)s AND d.state = 'waiting' AND d.next_attempt_at <= %(now)s
    ORDER BY d.next_attempt_at LIMIT %(limit)s FOR UPDATE OF d SKIP LOCKED)
RETURNING id
"""

State = WebhookDelivery.State
Reason = WebhookEndpoint.DisabledReason


class Message(NamedTuple):
    """A claimed delivery, ready to be sent."""

    delivery: WebhookDelivery
    url: str
    body: bytes
    headers: dict[str, str]


def run_due() -> int:
    """Send what is due until nothing is, at most for ROUND_SECONDS. Return how many were sent.

    Return 0 at once if all slots are taken.
    """
    due = WebhookDelivery.objects.filter(state=State.WAITING, next_attempt_at__lte=timezone.now())
    if not due.exists():
        return 0
    with _slot() as is_free:
        return _round() if is_free else 0


def claim_due(limit: int = THREADS, busy_teams: list[int] | None = None) -> list[int]:
    """Claim deliveries that are due, none of `busy_teams`. Return their ids."""
    now = timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "now": now,
                "claimed_until": now + timedelta(seconds=CLAIM_SECONDS),
                "most_of_endpoint": MOST_OF_ENDPOINT,
                "most_of_team": MOST_OF_TEAM,
                "busy_teams": busy_teams or [],
                "limit": limit,
            },
        )
        return [row[0] for row in cursor.fetchall()]


def messages_of(claimed: list[int]) -> list[Message]:
    """Return the messages of claimed deliveries; those that can't be sent are ended instead."""
    found = WebhookDelivery.objects.filter(pk__in=claimed, state=State.WAITING)
    messages = []
    for delivery in found.select_related("event", "endpoint").order_by("pk"):
        if not delivery.endpoint.is_enabled:  # the event was published while it was being disabled
            mine = WebhookDelivery.objects.filter(pk=delivery.pk, state=State.WAITING)
            mine.update(state=State.CANCELED, ended_at=timezone.now())
            continue
        try:
            messages.append(_message(delivery))
        except (encryption.DecryptionError, ValueError):
            record(delivery, Answer(None, "", WebhookDelivery.Problem.SECRET, 0))
    return messages


def record(delivery: WebhookDelivery, answer: Answer) -> None:
    """Record the answer to an attempt, and plan the next one if it failed.

    An attempt whose claim another worker has taken over meanwhile changes nothing.
    """
    now = timezone.now()
    is_over = answer.is_success or _is_last(delivery)
    state = State.DELIVERED if answer.is_success else State.FAILED if is_over else State.WAITING
    with transaction.atomic():
        # First the endpoint, then its deliveries: as they are locked when it is disabled.
        rows = WebhookEndpoint.objects.select_for_update(no_key=True)
        endpoint = rows.filter(pk=delivery.endpoint_id).first()
        if endpoint is None:
            return  # deleted meanwhile
        mine = WebhookDelivery.objects.filter(
            pk=delivery.pk, state=State.WAITING, attempts=delivery.attempts
        )
        recorded = mine.update(
            state=state,
            status=answer.status,
            excerpt=answer.excerpt,
            problem=answer.problem,
            duration_ms=answer.duration_ms,
            next_attempt_at=now + retry_delay(_attempt_number(delivery)),
            ended_at=now if is_over else None,
        )
        if recorded:
            _record_at_endpoint(endpoint, delivery, answer, is_last=is_over)


def retry_delay(attempt: int) -> timedelta:
    """Return the time until the attempt after this one (the first is 1), with jitter."""
    # Attempts whose workers were killed count too, and may be so many that the power overflows.
    factor = RETRY_FACTOR ** min(attempt - 1, MAX_ATTEMPTS)
    delay: timedelta = min(FIRST_RETRY * factor, SLOWEST_RETRY)
    return delay * random.uniform(1 - JITTER, 1 + JITTER)


def body_of(event: WebhookEvent) -> bytes:
    """Return an event as it is sent: the same bytes at each attempt."""
    timestamp = event.created_at.astimezone(UTC).isoformat(timespec="milliseconds")
    payload = {
        "type": event.type,
        "timestamp": timestamp.replace("+00:00", "Z"),
        "data": dict(sorted(event.data.items())),
    }
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def forget_old() -> int:
    """Delete the events of more than KEPT ago, with their deliveries. Return how many events.

    The event of a key's budget that may still be used up stays, or it would be published again.
    """
    old = WebhookEvent.objects.filter(created_at__lt=timezone.now() - KEPT)
    WebhookDelivery.objects.filter(event__in=old).delete()
    lasting = {"data__scope": "api_key", "data__period__in": ["monthly", "total"]}
    over = old.exclude(type=EventType.BUDGET_REACHED, **lasting)
    return over.delete()[0]


@contextmanager
def _slot() -> Iterator[bool]:
    """Hold one of the slots: yield whether one was free."""
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as link:
        for slot in range(SLOTS):
            row = link.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCKS, slot)).fetchone()
            if row is not None and row[0]:
                # The lock is released with the connection, even if the process is killed.
                yield True
                return
    yield False


def _round() -> int:
    ends_at = time.monotonic() + ROUND_SECONDS
    running: dict[Future[Answer], WebhookDelivery] = {}
    sent = 0
    with WebhookClient() as client, ThreadPoolExecutor(THREADS) as threads:
        while True:
            if time.monotonic() < ends_at:
                busy = list({each.event.team_id for each in running.values()})
                claimed = claim_due(THREADS - len(running), busy) if len(running) < THREADS else []
                for message in messages_of(claimed):
                    post = threads.submit(client.post, message.url, message.body, message.headers)
                    running[post] = message.delivery
            if not running:
                return sent
            done, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
            for post in done:
                failpoint("after_webhook")
                record(running.pop(post), post.result())
                sent += 1


def _message(delivery: WebhookDelivery) -> Message:
    endpoint, event = delivery.endpoint, delivery.event
    now = timezone.now()
    keys = [signing_key(secret) for secret in endpoints.signing_secrets(endpoint, now)]
    body = body_of(event)
    headers = signature_headers(keys, event.message_id, now, body)
    return Message(delivery, endpoint.url, body, headers)


def _attempt_number(delivery: WebhookDelivery) -> int:
    """Return the number of an attempt since the event, or since its last replay: from 1."""
    return delivery.attempts - delivery.attempts_before_replay


def _is_last(delivery: WebhookDelivery) -> bool:
    return _attempt_number(delivery) >= MAX_ATTEMPTS


def _record_at_endpoint(
    endpoint: WebhookEndpoint, delivery: WebhookDelivery, answer: Answer, *, is_last: bool
) -> None:
    """Note since when the endpoint has failed, and disable it if that is too long."""
    now = timezone.now()
    if answer.is_success:
        failing_since = None
    else:
        failing_since = endpoint.failing_since or now
        log.info(
            "webhook_not_delivered",
            endpoint=endpoint.pk,
            delivery=delivery.pk,
            attempts=delivery.attempts,
            status=answer.status,
            problem=answer.problem,
        )
    if failing_since != endpoint.failing_since:
        endpoint.failing_since = failing_since
        endpoint.save(update_fields=["failing_since"])
    if answer.status == 410:  # as the specification asks
        endpoints.disable_by_service(endpoint, Reason.GONE)
    elif failing_since is not None and is_last and failing_since <= now - DISABLE_AFTER:
        endpoints.disable_by_service(endpoint, Reason.FAILING)
