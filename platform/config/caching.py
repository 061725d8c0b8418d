"""Caching by browsers and proxies: what they may not store, and what they may load ahead."""

from collections.abc import Callable

from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse


class PrivatePages:
    """Middleware that forbids storing pages that depend on the signed-in user.

    It also points to the rules of what to load ahead. They apply to pages that may not be stored,
    too: the browser keeps a prefetched page for the document that requested it alone.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, with `no-store` if a user is signed in and the session was read."""
        response = self._get_response(request)
        if request.session.accessed and SESSION_KEY in request.session:
            response["Cache-Control"] = "no-store, private"
        if request.method == "GET" and response.get("Content-Type", "").startswith("text/html"):
            response["Speculation-Rules"] = f'"{reverse("prefetch_rules")}"'
        return response
