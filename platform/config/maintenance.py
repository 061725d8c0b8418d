"""Maintenance mode for the pages; `api/router.py` does the same for the API."""

from collections.abc import Callable
from datetime import UTC

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from accounts.formats import day_format
from api import maintenance
from api.gateway.http import new_request_id
from config.https import error_response

# What staff need to sign in and end it, Stripe's webhooks, the status page and static files.
OPEN_PATHS = (
    "/admin/",
    "/webhooks/",
    "/status",
    "/static/",
    "/brand/",
    "/accounts/login/",
    "/accounts/logout/",
    "/accounts/2fa/",
    "/accounts/reauthenticate/",
    "/favicon.ico",
    "/robots.txt",
    "/.well-known/",
)


class MaintenancePages:
    """Middleware that shows the maintenance page in place of customers' pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, or a 503 with Retry-After for anyone but staff."""
        if not maintenance.current.is_on:
            return self._get_response(request)
        if request.path_info.startswith(OPEN_PATHS) or getattr(request.user, "is_staff", False):
            return self._get_response(request)
        return _maintenance_page(request)


def _maintenance_page(request: HttpRequest) -> HttpResponse:
    current = maintenance.current
    if request.path_info.startswith("/api/"):
        return error_response(current.error())
    context: dict[str, object] = {"current": current}
    if current.ends_at is not None:
        ends_at = current.ends_at.astimezone(UTC)
        context["ends_text"] = ends_at.strftime(f"{day_format()} %H:%M UTC")
    answer = HttpResponse(render_to_string("maintenance.html", context), status=503)
    answer["Retry-After"] = str(current.retry_seconds())
    answer["Cache-Control"] = "no-store"
    answer["X-Request-Id"] = new_request_id()
    return answer
