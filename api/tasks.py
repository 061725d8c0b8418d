"""What Celery does for the API: every task may run twice, late or at once, and does no harm."""

from celery import shared_task

from api.jobs import poll
from api.reencryption import reencrypt


@shared_task
def poll_videos() -> int:
    """Ask upstreams about the videos they make, and ends those that are done. Return how many."""
    return poll.poll_due()


@shared_task
def encrypt_secrets() -> int:
    """Encrypt what is stored as plaintext or under an older key. Return the number of rows."""
    return reencrypt()
