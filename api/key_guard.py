"""The guard of API keys: spend far above a key's usual, and use from a new network.

Celery looks every minute at the hourly roll-ups and the networks that the gateway notes, so
requests pay nothing for it. A spike is reported, or its key frozen, within about two minutes.

**Spike**: a key spent more in a clock hour than SPIKE_FLOOR_DOLLARS, and more than SPIKE_FACTOR
times its highest hour of the last 14 days. The highest hour, not the mean or median: a large
batch now and then is not reported. Only keys with a history are judged.

**New network**: a network (IPv4 /24, IPv6 /48) that the key was not used from in the last
NETWORK_DAYS, though it has been used for a week.

What was reported is usual from then on: its spend counts as one of the highest hours, and the
network is known. So a key that a member unfreezes is not frozen for the same reason again.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, Max, OuterRef
from django.utils import timezone

from accounts import api_keys, audit
from accounts.access import Actor
from accounts.errors import KeyNotActiveError
from accounts.models import ApiKey
from accounts.webhooks.events import EventType, key_data, publish
from api.models import KeyGuard, KeyIncident, KeyNetwork
from billing.pricing.money import dollars_short_text, dollars_text, nanos_from_dollars

log = structlog.get_logger(__name__)

HISTORY = timedelta(days=14)
# A key is judged once it has been active in so many hours, since so long ago.
LEAST_ACTIVE_HOURS = 10
LEAST_AGE = timedelta(days=3)
NETWORK_DAYS = 30
NETWORK_HISTORY = timedelta(days=7)
BATCH = 1000

Action = KeyGuard.Action
Kind = KeyIncident.Kind

# A rotated key's hours count as its successor's.
_SPENT = """
WITH spent AS (
    SELECT u.account_id, u.key_id, sum(u.charged_nanos)::bigint AS nanos
    FROM billing_usagehour u WHERE u.hour = %(hour)s
    GROUP BY u.account_id, u.key_id HAVING sum(u.charged_nanos) > %(floor_nanos)s)
SELECT s.key_id, s.nanos, max(h.nanos)
FROM spent s
JOIN accounts_apikey k ON k.id = s.key_id AND k.revoked_at IS NULL AND k.frozen_at IS NULL
CROSS JOIN LATERAL (
    SELECT u.hour, sum(u.charged_nanos)::bigint AS nanos FROM billing_usagehour u
    WHERE u.account_id = s.account_id AND u.key_id IN (s.key_id, k.replaces_id)
        AND u.hour >= %(since)s AND u.hour < %(hour)s
    GROUP BY u.hour HAVING sum(u.charged_nanos) > 0) h
GROUP BY s.key_id, s.nanos
HAVING count(*) >= %(least_hours)s AND min(h.hour) <= %(old)s
ORDER BY s.key_id
"""


class Spike(NamedTuple):
    """A key's spend in an hour and the highest hour before, in nano-dollars."""

    key_id: int
    spent_nanos: int
    usual_nanos: int


def guard_keys(now: datetime) -> int:
    """Look for unusual use of keys, and act as their guards say. Return the number of incidents."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    found = 0
    # The last hour's roll-up is complete only after its end.
    for each in (hour - timedelta(hours=1), hour):
        for spike in spikes_of(each):
            found += _report_spike(spike, each)
    return found + sum(map(_judge, _unjudged_networks()))


def spikes_of(hour: datetime) -> list[Spike]:
    """Return the keys that spent far more in this hour than is usual for them."""
    floor_nanos = nanos_from_dollars(settings.SPIKE_FLOOR_DOLLARS)
    with connection.cursor() as cursor:
        cursor.execute(
            _SPENT,
            {
                "hour": hour,
                "since": hour - HISTORY,
                "old": hour - LEAST_AGE,
                "least_hours": LEAST_ACTIVE_HOURS,
                "floor_nanos": floor_nanos,
            },
        )
        rows = [Spike(*row) for row in cursor.fetchall()]
    reported = KeyIncident.objects.filter(
        key__in={row.key_id for row in rows}, kind=Kind.SPIKE, created_at__gte=hour - HISTORY
    )
    learned = dict(reported.order_by().values_list("key").annotate(Max("spent_nanos")))
    known = [
        row._replace(usual_nanos=max(row.usual_nanos, learned.get(row.key_id, 0))) for row in rows
    ]
    return [each for each in known if each.spent_nanos > settings.SPIKE_FACTOR * each.usual_nanos]


def set_guard(
    actor: Actor, key: ApiKey, *, on_spike: str, on_new_network: str, ip_address: str | None
) -> None:
    """Choose what to do about unusual use of a key."""
    chosen = {"on_spike": on_spike, "on_new_network": on_new_network}
    with transaction.atomic():
        KeyGuard.objects.update_or_create(key=key, defaults=chosen)
        audit.record(actor, "key.guarded", str(key), detail=chosen, ip_address=ip_address)


def guard_of(key: ApiKey) -> KeyGuard:
    """Return a key's guard; the defaults, unsaved, if none was chosen."""
    return KeyGuard.objects.filter(key=key).first() or KeyGuard(key=key)


def frozen_by(key: ApiKey) -> KeyIncident | None:
    """Return the incident that a key is frozen for; None for any other key."""
    if key.frozen_at is None or not key.is_frozen_by_team:
        return None
    found = KeyIncident.objects.filter(key=key, is_frozen=True, created_at__gte=key.frozen_at)
    return found.order_by("pk").first()


def forget_networks(now: datetime) -> int:
    """Delete the networks of revoked keys, and those long unused. Return how many."""
    revoked = KeyNetwork.objects.filter(key__revoked_at__isnull=False)
    old = KeyNetwork.objects.filter(last_seen_at__lt=now - timedelta(days=NETWORK_DAYS))
    return revoked.delete()[0] + old.delete()[0]


def _report_spike(spike: Spike, hour: datetime) -> bool:
    key = ApiKey.objects.select_related("team").get(pk=spike.key_id)
    reference = f"{hour:%Y-%m-%dT%H} above {spike.usual_nanos}"
    return _report(
        key,
        guard_of(key).on_spike,
        KeyIncident(
            key=key,
            kind=Kind.SPIKE,
            reference=reference,
            spent_nanos=spike.spent_nanos,
            usual_nanos=spike.usual_nanos,
        ),
    )


def _unjudged_networks() -> list[KeyNetwork]:
    """Return the networks to judge. Those of keys that aren't guarded are judged at once."""
    unjudged = KeyNetwork.objects.filter(is_judged=False)
    guards = KeyGuard.objects.filter(key=OuterRef("key")).exclude(on_new_network=Action.OFF)
    unjudged.filter(~Exists(guards)).update(is_judged=True)  # OFF is the default
    return list(unjudged.select_related("key__team").order_by("pk")[:BATCH])


def _judge(row: KeyNetwork) -> bool:
    """Report a network that is new for a key with a history. Return whether it was reported."""
    since = row.first_seen_at - NETWORK_HISTORY
    others = KeyNetwork.objects.filter(key=row.key_id, first_seen_at__lte=since)
    with transaction.atomic():
        if not KeyNetwork.objects.filter(pk=row.pk, is_judged=False).update(is_judged=True):
            return False  # another worker was faster
        if not others.exists():
            return False
        reference = f"{row.network} since {row.first_seen_at:%Y-%m-%d %H:%M:%S}"
        incident = KeyIncident(
            key=row.key, kind=Kind.NEW_NETWORK, reference=reference, network=row.network
        )
        return _report(row.key, guard_of(row.key).on_new_network, incident)


def _report(key: ApiKey, action: str, incident: KeyIncident) -> bool:
    """Store an incident, freeze the key if its guard says so, and notify its team, once."""
    if action == Action.OFF:
        return False
    incident.is_frozen = action == Action.FREEZE
    with transaction.atomic():
        # Locked, so that one of two workers at the same time sees the other's incident.
        ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        if KeyIncident.objects.filter(
            key=key, kind=incident.kind, reference=incident.reference
        ).exists():
            return False
        if incident.is_frozen:
            try:
                key = api_keys.freeze_key(key, is_by_team=True)
            except KeyNotActiveError:
                return False
            # The ledger's clock may be ahead of ours.
            incident.created_at = max(timezone.now(), key.frozen_at or timezone.now())
        incident.save()
        verb = "key.frozen" if incident.is_frozen else "key.flagged"
        audit.record(Actor(team=key.team), verb, str(key), detail=_detail_of(incident))
        kind = EventType.API_KEY_FROZEN if incident.is_frozen else EventType.API_KEY_FLAGGED
        publish(key.team_id, kind, {**key_data(key), **_data_of(incident)})
    log.warning("key_guarded", key=key.pk, kind=incident.kind, is_frozen=incident.is_frozen)
    return True


def _detail_of(incident: KeyIncident) -> dict[str, str]:
    if incident.kind == Kind.NEW_NETWORK:
        return {"reason": "new network", "network": network_text(incident)}
    spent, usual = (
        dollars_short_text(nanos) for nanos in (incident.spent_nanos, incident.usual_nanos)
    )
    return {"reason": "spike", "spent_in_hour": f"${spent}", "usual": f"at most ${usual}"}


def _data_of(incident: KeyIncident) -> dict[str, object]:
    if incident.kind == Kind.NEW_NETWORK:
        return {"reason": "new_network", "network": network_text(incident)}
    return {
        "reason": "spike",
        "spent_usd": dollars_text(incident.spent_nanos),
        "usual_usd": dollars_text(incident.usual_nanos),
    }


def network_text(incident: KeyIncident) -> str:
    """Return an incident's network, such as `192.0.2.0/24`; empty for a spike."""
    if not incident.network:
        return ""
    return f"{incident.network}/{48 if ':' in incident.network else 24}"
