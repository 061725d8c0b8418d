"""The inbox of webhooks: verified, written down once, answered, and only then worked on."""

from datetime import timedelta

import structlog
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts.masking import mask_secrets
from billing.failpoints import failpoint
from billing.ledger.alerts import raise_alert
from billing.models import StripeEvent
from billing.payments.handlers import HANDLERS, NotOursError
from billing.payments.orders import PaymentMismatchError
from billing.stripe_api import webhooks

log = structlog.get_logger(__name__)

# Longer than a handler takes, even if each of its calls to Stripe waits and is repeated; who died
# with an event is followed by another after it.
LEASE = timedelta(minutes=5)
LONGEST_PAUSE = timedelta(hours=1)
ATTEMPTS_BEFORE_ALERT = 8

DUE_STATES = (StripeEvent.State.RECEIVED, StripeEvent.State.FAILED)


def receive(payload: bytes, signature: str) -> tuple[StripeEvent, bool]:
    """Writes an event down; True: it is new. Raises ForgedEventError for what is none of Stripe's.

    An event of a type that nobody handles is kept as ignored.
    """
    event = webhooks.read(payload, signature)
    is_known = event.type in HANDLERS
    return StripeEvent.objects.get_or_create(
        id=event.id,
        defaults={
            "type": event.type,
            "object_id": event.object_id,
            "created_at": event.created_at,
            "state": StripeEvent.State.RECEIVED if is_known else StripeEvent.State.IGNORED,
            "outcome": "" if is_known else "Nothing is done about this type.",
            "ended_at": None if is_known else timezone.now(),
        },
    )


def handle(event_id: str) -> StripeEvent | None:
    """Does what an event asks for, and writes down what it came to.

    None: it is done already, or another process has it. Whatever goes wrong is kept with the
    event, which is tried again later.
    """
    event = _claim(event_id)
    if event is None:
        return None
    try:
        event.outcome = HANDLERS[event.type](event.object_id)[:300]
        event.state = StripeEvent.State.HANDLED
    except (NotOursError, PaymentMismatchError) as error:  # the second with an alert of its own
        event.outcome = str(error)[:300]
        event.state = StripeEvent.State.IGNORED
    except Exception as error:
        log.exception("stripe_event_failed", event_id=event.id, event_type=event.type)
        event.outcome = mask_secrets(f"{type(error).__name__}: {error}")[:300]
        event.state = StripeEvent.State.FAILED
        event.next_attempt_at = timezone.now() + _pause(event.attempts)
    failpoint("after_event_handled")
    _write_down(event)
    return event


def due_events(row_limit: int = 100) -> list[str]:
    """Returns the ids of events that wait: their task was lost, or their last attempt failed."""
    due = StripeEvent.objects.filter(state__in=DUE_STATES, next_attempt_at__lte=timezone.now())
    return list(due.order_by("next_attempt_at").values_list("id", flat=True)[:row_limit])


def replay(event: StripeEvent) -> None:
    """Lets an event be handled once more, whatever it came to before."""
    if event.type in HANDLERS:
        StripeEvent.objects.filter(pk=event.pk).update(
            state=StripeEvent.State.RECEIVED, next_attempt_at=timezone.now(), ended_at=None
        )


def _claim(event_id: str) -> StripeEvent | None:
    """Takes an event that is due, so that no other process works on it meanwhile."""
    with transaction.atomic():
        event = (
            StripeEvent.objects.select_for_update(skip_locked=True)
            .filter(pk=event_id, state__in=DUE_STATES, next_attempt_at__lte=timezone.now())
            .first()
        )
        if event is not None:
            StripeEvent.objects.filter(pk=event.pk).update(
                attempts=F("attempts") + 1, next_attempt_at=timezone.now() + LEASE
            )
            event.refresh_from_db()
    return event


def _pause(attempts: int) -> timedelta:
    return min(LONGEST_PAUSE, timedelta(seconds=5 * (1 << min(attempts, 12))))


def _write_down(event: StripeEvent) -> None:
    """Keeps what an event came to, unless another process has taken it over by now."""
    has_failed = event.state == StripeEvent.State.FAILED
    event.ended_at = None if has_failed else timezone.now()
    own = StripeEvent.objects.filter(pk=event.pk, attempts=event.attempts)
    own.update(
        outcome=event.outcome,
        state=event.state,
        next_attempt_at=event.next_attempt_at,
        ended_at=event.ended_at,
    )
    if has_failed and event.attempts == ATTEMPTS_BEFORE_ALERT:
        raise_alert("stripe_event", event.id, f"{event.type} {event.object_id}: {event.outcome}")
