"""The pages' share of the database pool: bounded, returned at once, a 503 when it is exhausted.

A page holds a connection only while its view runs in its thread: a client that reads slowly keeps
the rendered answer waiting, never a connection. Customers' pages together leave `RESERVED`
connections of the pool to Stripe's webhooks and to staff, so that a crowd on the portal cannot keep
a payment from being booked.
"""

import sys
import threading
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.utils import translation
from django.views.defaults import server_error as django_server_error

from api import errors
from api.gateway.http import new_request_id
from config.https import error_response

log = structlog.get_logger(__name__)

# Paths that may also use the reserved connections.
PRIVILEGED = ("/webhooks/", "/admin/")
RESERVED = 2
WAIT_SECONDS = 1.0
RETRY_AFTER_SECONDS = 2


class PageConnections:
    """Middleware that bounds the pages that use the database, and returns their connections."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response
        size: int = settings.DATABASES["default"]["OPTIONS"]["pool"]["max_size"]  # type: ignore[index]
        self._slots = threading.BoundedSemaphore(max(1, size - RESERVED))

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, or a 503 if no connection becomes free within `WAIT_SECONDS`."""
        if request.path_info.startswith(PRIVILEGED):
            return self._respond(request)
        if not self._slots.acquire(timeout=WAIT_SECONDS):
            log.warning("pages_busy", path=request.path_info)
            return service_unavailable(request)
        try:
            return self._respond(request)
        finally:
            self._slots.release()

    def _respond(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return self._get_response(request)
        finally:
            if not connection.in_atomic_block:  # a test's own transaction goes on
                connection.close()


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Return the response to a view's exception: 503 if the database is unavailable or full."""
    if isinstance(sys.exc_info()[1], OperationalError):
        return service_unavailable(request)
    return django_server_error(request)


def service_unavailable(request: HttpRequest) -> HttpResponse:
    """Return a 503 with Retry-After, made without the database: a page, or the API's error."""
    if request.path_info.startswith("/api/"):
        error = errors.ServiceUnavailableError(retry_after_seconds=RETRY_AFTER_SECONDS)
        return error_response(error)
    # The reader's profile is in the database.
    with translation.override(translation.get_language_from_request(request)):
        answer = HttpResponse(render_to_string("503.html"), status=503)
    answer["Retry-After"] = str(RETRY_AFTER_SECONDS)
    answer["Cache-Control"] = "no-store"
    answer["X-Request-Id"] = new_request_id()
    return answer
