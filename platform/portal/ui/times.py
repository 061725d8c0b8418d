"""Moments as the reader's zone shows them: one format everywhere, with the zone named.

A reader's zone is the one of their profile, else the browser's, which `js/site.js` keeps in a
cookie, else UTC. Days of charts, budgets and statements are UTC's, and say so; exports are in UTC.
"""

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone

from accounts.zones import zone_of

COOKIE = "zone"
# The admin's forms and the APIs read and write UTC.
_IN_UTC = ("/admin/", "/api/")


class ReaderZone:
    """Middleware that shows times in the browser's zone; `portal.access` prefers the profile's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, rendered in the zone."""
        zone = zone_of(request.COOKIES.get(COOKIE, ""))
        if zone is None or request.path.startswith(_IN_UTC):
            timezone.deactivate()
        else:
            timezone.activate(zone)
        try:
            return self._get_response(request)
        finally:
            timezone.deactivate()
