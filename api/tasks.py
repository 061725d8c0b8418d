"""Celery's tasks for the API. Each may run twice, late or concurrently without harm."""

import time
from datetime import timedelta

from celery import shared_task
from django.core.cache import cache
from django.db.models import Q
from django.utils import timezone

from api import key_guard, usage_reports
from api.catalogue import ejections, losses, model_figures
from api.gateway.key_addresses import FORGET_DAYS
from api.jobs import poll
from api.models import IdempotentRequest, KeyAddress, UsageSource
from api.operations import async_chat_worker
from api.reencryption import reencrypt
from api.webhooks import delivery as webhooks
from billing.models import ProcessLease

HEARTBEAT_KEY = "celery-heartbeat"


@shared_task
def heartbeat() -> None:
    """Note that a worker runs what beat queues; its age is the lag (`config/metrics.py`)."""
    cache.set(HEARTBEAT_KEY, time.time(), timeout=None)


@shared_task
def poll_videos() -> int:
    """Ask upstreams about the videos they make, and end those that are done. Return how many."""
    return poll.poll_due()


@shared_task
def alert_of_losses() -> int:
    """Alert staff of models that are sold below cost. Return the number of new alerts."""
    return losses.alert_of_losses(timezone.now())


@shared_task
def alert_of_ejections() -> int:
    """Alert staff of routes that were ejected lately. Return the number of new alerts."""
    return ejections.alert_of_ejections(timezone.now())


@shared_task
def roll_up_model_figures() -> int:
    """Roll up what models' pages show of the last 30 days. Return the number of models."""
    return model_figures.roll_up(timezone.now())


@shared_task
def guard_keys() -> int:
    """Warn of unusual use of keys, or freeze them. Return the number of incidents."""
    return key_guard.guard_keys(timezone.now())


@shared_task
def forget_key_addresses() -> int:
    """Delete addresses and networks of revoked keys, and those long unused. Return how many."""
    old = timezone.now() - timedelta(days=FORGET_DAYS)
    found = KeyAddress.objects.filter(Q(key__revoked_at__isnull=False) | Q(seen_at__lt=old))
    return found.delete()[0] + key_guard.forget_networks(timezone.now())


@shared_task
def forget_idempotent_requests() -> int:
    """Delete the stored answers that have expired, or whose key was revoked. Return how many.

    A request that is still running keeps its claim.
    """
    alive = ProcessLease.objects.filter(ended_at__isnull=True).values("id")
    found = IdempotentRequest.objects.filter(
        Q(key__revoked_at__isnull=False) | Q(expires_at__lt=timezone.now())
    ).exclude(state=IdempotentRequest.State.RUNNING, lease_id__in=alive)
    return found.delete()[0]


# A round may take longer than the time to the next, which then returns at once.
@shared_task(expires=10)
def deliver_webhooks() -> int:
    """Send customers' webhooks that are due. Return how many were sent."""
    return webhooks.run_due()


@shared_task
def forget_webhook_events() -> int:
    """Delete old events of webhooks with their deliveries. Return how many."""
    return webhooks.forget_old()


@shared_task
def encrypt_secrets() -> int:
    """Encrypt what is stored as plaintext or under an older key. Return the number of rows."""
    return reencrypt()


@shared_task
def read_usage(source_id: int | None = None) -> int:
    """Read upstreams' own usage from one source, or all enabled ones. Return how many succeeded."""
    if source_id is None:
        return usage_reports.read_due()
    source = UsageSource.objects.select_related("upstream").filter(pk=source_id).first()
    return int(source is not None and usage_reports.read_source(source))


# After an outage one run is enough, instead of one for each that was missed.
@shared_task(expires=10)
def run_chats() -> int:
    """Answer the waiting conversations. Return how many were claimed."""
    return async_chat_worker.run_due()


@shared_task
def forget_chats() -> int:
    """Delete the answers whose storage time is over. Return how many."""
    return async_chat_worker.forget_old()
