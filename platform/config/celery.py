"""The Celery application: `celery -A config.celery worker -B`."""

import os
import sys
from typing import Any

from celery import Celery
from celery.signals import worker_init
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("tollgate")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_init.connect
def check_settings(**_signal: Any) -> None:
    """Refuse to start a worker whose settings are incomplete. Raise SystemExit.

    Celery only logs other exceptions of signal receivers.
    """
    from config.startup import require_settings  # noqa: PLC0415  # needs the apps loaded

    try:
        require_settings()
    except ImproperlyConfigured as error:
        sys.exit(str(error))
