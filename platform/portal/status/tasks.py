"""The Celery task that sends status updates to subscribers."""

from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from api.models import StatusSubscriber, StatusUpdate
from portal.emails import sending
from portal.status.subscriptions import unsubscribe_url

# Updates that are older when their event is published are not sent.
MAX_AGE = timedelta(days=1)


@shared_task(name="portal.tasks.send_status_updates")  # the name in the beat schedule
def send_status_updates() -> int:
    """Send each published update to all subscribers, once. Return the number of updates.

    An update counts as sent before its emails are queued, so that none is sent twice.
    """
    now = timezone.now()
    with transaction.atomic():
        updates = list(
            StatusUpdate.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(
                notified_at__isnull=True,
                event__is_published=True,
                created_at__lte=now,
                created_at__gt=now - MAX_AGE,
            )
            .select_related("event")
            .order_by("created_at")
        )
        StatusUpdate.objects.filter(pk__in=[each.pk for each in updates]).update(notified_at=now)
        for update in updates:
            for subscriber in StatusSubscriber.objects.iterator():
                sending.send_later("status_update", subscriber.email, _context(update, subscriber))
    return len(updates)


def _context(update: StatusUpdate, subscriber: StatusSubscriber) -> dict[str, str]:
    return {
        "kind": update.event.kind,
        "title": update.event.title,
        "text": update.text,
        "at": f"{update.created_at:%Y-%m-%d %H:%M} UTC",
        "url": f"{settings.BASE_URL.rstrip('/')}{reverse('status')}",
        "unsubscribe_url": unsubscribe_url(subscriber),
    }
