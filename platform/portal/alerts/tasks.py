"""Celery's tasks that send alerts. Each may run twice, late or concurrently."""

import uuid

from celery import shared_task

from portal.alerts import delivery


@shared_task(name="portal.tasks.deliver_alerts")  # the name in the beat schedule
def deliver_alerts() -> int:
    """Queue the messages about alerts that are due. Return their number."""
    delivery.add_deliveries()
    messages = delivery.claim_due()
    for message_id in messages:
        # If the queue loses one, its claim ends and a later round queues it again.
        send_alert.apply_async((str(message_id),), retry=False, expires=60)
    return len(messages)


@shared_task(name="portal.tasks.send_alert")
def send_alert(message_id: str) -> bool:
    """Send one message; a failure is recorded and tried again by a later round."""
    return delivery.send_message(uuid.UUID(message_id))
