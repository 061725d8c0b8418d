"""The Django project."""

# Wherever Django runs, tasks are queued by this application, with its broker.
from config.celery import app as celery_app

__all__ = ["celery_app"]
