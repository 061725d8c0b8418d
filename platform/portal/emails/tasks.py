"""The Celery task that sends the notices that are due.

Each run stores a notice before sending it, so that no notice is sent twice.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounts.models import SentNotice
from portal.emails import due, due_budgets, due_payments, due_prices, sending
from portal.emails.due import Notice

BATCH = 200


@shared_task(name="portal.tasks.send_notices")  # the name in the beat schedule
def send_notices() -> int:
    """Send the notices that are due, each once, and return how many.

    Rounds at the same time share the work: a reference is unique, so one of them writes it down.
    """
    due.rearm_low_balances()
    now = timezone.now()
    budgets = due.near_budgets(now.date())
    due.publish_reached_budgets(budgets)
    thresholds = due_budgets.reached_thresholds(now)
    due_budgets.publish_budget_warnings(thresholds)
    found = chain(
        due.low_balances(),
        due.reached_budgets(budgets),
        due_budgets.budget_warnings(thresholds),
        due.new_keys(now),
        due.disabled_webhooks(now),
        due.key_incidents(now),
        due_payments.refunds_made(now),
        due_payments.paused_keys(now),
        due_payments.auto_top_ups(now),
        due_payments.auto_top_up_problems(now),
        due_payments.failed_plan_payments(),
        due_payments.ended_plans(now),
        due_prices.price_changes(now),
    )
    return sum(_send(notice) for batch in _batches(found) for notice in _unsent(batch))


def _batches(notices: Iterable[Notice]) -> Iterator[list[Notice]]:
    remaining = iter(notices)
    while batch := list(islice(remaining, BATCH)):
        yield batch


def _unsent(batch: list[Notice]) -> list[Notice]:
    """Return the notices of the batch that are not stored yet, in one query."""
    sent = set(
        SentNotice.objects.filter(
            user__in={notice.user.pk for notice in batch},
            reference__in={notice.reference for notice in batch},
        ).values_list("user_id", "kind", "reference")
    )
    return [each for each in batch if (each.user.pk, each.kind, each.reference) not in sent]


def _send(notice: Notice) -> bool:
    """Store the notice, and send it once that is committed; return False if it was sent before.

    So an email is never sent twice, and is lost only if the process ends between the two.
    """
    with transaction.atomic():
        _, is_new = SentNotice.objects.get_or_create(
            user=notice.user,
            kind=notice.kind,
            reference=notice.reference,
            defaults={"team": notice.team},
        )
        if is_new:
            sending.send_later(notice.kind.value, notice.user.email, _context(notice))
    return is_new


def _context(notice: Notice) -> dict[str, object]:
    base_url = settings.BASE_URL.rstrip("/")
    return {
        **notice.facts,
        "team_name": notice.team.name,
        "budgets_url": f"{base_url}{reverse('team_budgets')}",
        "keys_url": f"{base_url}{reverse('apikeys')}",
        "statement_url": f"{base_url}{reverse('statement')}",
        "billing_url": f"{base_url}{reverse('billing')}",
        "webhooks_url": f"{base_url}{reverse('webhooks')}",
        "usage_url": f"{base_url}{reverse('usage')}",
        "notifications_url": f"{base_url}{reverse('notifications')}",
    }
