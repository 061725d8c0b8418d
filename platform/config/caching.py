"""Caching by browsers and proxies: no page of a signed-in user may be stored."""

from collections.abc import Callable

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class PrivatePages:
    """Middleware that forbids storing pages that depend on the signed-in user."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, with `no-store` if a user is signed in and the session was read."""
        response = self._get_response(request)
        if request.session.accessed and SESSION_KEY in request.session:
            response["Cache-Control"] = "no-store, private"
        return response
