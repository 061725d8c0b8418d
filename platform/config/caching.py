"""What browsers and proxies may keep: nothing that a signed-in person was shown."""

from collections.abc import Callable

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.http.response import HttpResponseBase


class PrivatePages:
    """Middleware that lets nobody store a page which depends on who is signed in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, with `no-store` if its view asked who is signed in, and somebody is."""
        response = self._get_response(request)
        if request.session.accessed and SESSION_KEY in request.session:
            response["Cache-Control"] = "no-store, private"
        return response
