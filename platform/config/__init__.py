"""The Django project."""

# So that every Django process queues tasks with this application's broker.
from config.celery import app as celery_app

__all__ = ["celery_app"]
