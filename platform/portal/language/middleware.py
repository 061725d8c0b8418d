"""Which language a page is in.

A reader's language is the one of their profile, else the one they chose with the switch on any
page, which a cookie keeps, else the first of their browser's that the service has, else English.
"""

from collections.abc import Callable

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation
from django.utils.cache import patch_vary_headers

from accounts.languages import known_language

# Staff's pages are in English only: half of them in another language would be worse.
_IN_ENGLISH = ("/admin/",)


class ReaderLanguage:
    """Middleware that renders a page in its reader's language."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the page, with the headers that say which language it is in, and why."""
        with translation.override(language_of(request)):
            response = self._get_response(request)
            response.headers.setdefault("Content-Language", translation.get_language() or "en")
        if not request.path.startswith(_IN_ENGLISH):
            patch_vary_headers(response, ("Accept-Language", "Cookie"))
        return response


def language_of(request: HttpRequest) -> str:
    """Return the language for the answer to a request, one of `LANGUAGES`."""
    if request.path.startswith(_IN_ENGLISH):
        return settings.LANGUAGE_CODE
    # Without a session there is no profile: nothing is looked up for visitors.
    has_session = settings.SESSION_COOKIE_NAME in request.COOKIES
    user = request.user if has_session else AnonymousUser()
    chosen = known_language(user.language) if user.is_authenticated else ""
    return chosen or translation.get_language_from_request(request)
