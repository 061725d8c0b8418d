"""The types of events for customers' webhooks, and the functions that publish them.

An event is written in the transaction of what it reports: both are committed, or neither. Celery
sends it (`api/webhooks/delivery.py`). Its `data` has no secret and no prompt; amounts are decimal
numbers of dollars as text, in fields that end in `_usd`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from accounts.models import ApiKey, WebhookDelivery, WebhookEndpoint, WebhookEvent


class EventType(StrEnum):
    """The types of events."""

    BALANCE_LOW = "balance.low"
    BUDGET_REACHED = "budget.reached"
    JOB_COMPLETED = "job.completed"
    JOB_FAILED = "job.failed"
    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_FAILED = "payment.failed"
    API_KEY_CREATED = "api_key.created"
    API_KEY_FLAGGED = "api_key.flagged"
    API_KEY_FROZEN = "api_key.frozen"
    TEST = "webhook.test"


class Occasion(NamedTuple):
    """A reason for an event of a team, which has one event of a type for each `reference`."""

    team_id: int
    reference: str
    data: Mapping[str, object]


# The lock only holds off the deletion of an endpoint, which would fail the publisher's commit.
_ENABLED = """
SELECT * FROM accounts_webhookendpoint WHERE team_id = %s AND disabled_at IS NULL
ORDER BY id FOR KEY SHARE
"""
# `webhook.test` is sent on demand alone.
SUBSCRIBABLE = tuple(each for each in EventType if each is not EventType.TEST)


def publish(
    team_id: int, event_type: EventType, data: Mapping[str, object], *, reference: str | None = None
) -> WebhookEvent | None:
    """Write an event for the team's endpoints that want its type.

    Return None if there are none, or if the team has an event of this type and `reference` already.
    """
    with transaction.atomic():
        enabled = WebhookEndpoint.objects.raw(_ENABLED, [team_id])
        wanting = [each for each in enabled if not each.events or event_type in each.events]
        return publish_to(wanting, event_type, data, reference=reference)


def publish_new(event_type: EventType, occasions: Sequence[Occasion]) -> int:
    """Publish the occasions that were not published before. Return how many events that made.

    Those that were, and those of teams without an endpoint for them, cost two queries in all.
    """
    teams = {each.team_id for each in occasions}
    wanting = WebhookEndpoint.objects.filter(
        Q(events=[]) | Q(events__contains=[event_type]), team__in=teams, disabled_at=None
    )
    teams = set(wanting.values_list("team_id", flat=True))
    relevant = [each for each in occasions if each.team_id in teams]
    if not relevant:
        return 0
    events = WebhookEvent.objects.filter(
        team__in=teams, type=event_type, reference__in={each.reference for each in relevant}
    )
    known = set(events.values_list("team_id", "reference"))
    made = [
        publish(each.team_id, event_type, each.data, reference=each.reference)
        for each in relevant
        if (each.team_id, each.reference) not in known
    ]
    return sum(event is not None for event in made)


def publish_to(
    endpoints: list[WebhookEndpoint],
    event_type: EventType,
    data: Mapping[str, object],
    *,
    reference: str | None = None,
) -> WebhookEvent | None:
    """Write an event for these endpoints, which are of one team. Otherwise as `publish`."""
    if not endpoints:
        return None
    team_id = endpoints[0].team_id
    with transaction.atomic():
        fields = {"team_id": team_id, "type": event_type.value}
        if reference is None:
            event = WebhookEvent.objects.create(**fields, data=dict(data))
        else:
            event, is_new = WebhookEvent.objects.get_or_create(
                **fields, reference=reference, defaults={"data": dict(data)}
            )
            if not is_new:
                return None
        WebhookDelivery.objects.bulk_create(
            [WebhookDelivery(event=event, endpoint=each) for each in endpoints]
        )
    return event


def publish_key_created(key: ApiKey) -> None:
    """Publish that a key was created."""
    publish(
        key.team_id,
        EventType.API_KEY_CREATED,
        {
            **key_data(key),
            "scope": str(key.scope),
            "expires_at": key.ends_at.isoformat() if key.ends_at else None,
            "replaces": str(key.replaces_id) if key.replaces_id else None,
        },
    )


def publish_key_frozen(key: ApiKey, reason: str) -> None:
    """Publish that a key was frozen by a `member` or by `staff`, as `reason` says."""
    publish(key.team_id, EventType.API_KEY_FROZEN, {**key_data(key), "reason": reason})


def key_data(key: ApiKey) -> dict[str, object]:
    """Return an event's fields about a key: its id, name and hint, never its plaintext."""
    hint = f"{key.prefix}…{key.last_four}"
    return {"api_key_id": str(key.pk), "api_key_name": key.name, "api_key_hint": hint}
