"""Refusal of unencrypted calls of the management API, and API errors as Django responses."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from api import errors
from api.error_responses import headers_of, rendered
from api.gateway.http import new_request_id


class RefuseClearText:
    """Middleware that refuses unencrypted API calls, which Django would redirect.

    A redirect would hide that the key has crossed the network unencrypted, and every later request
    would send it that way again.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response, or a 400 for a management API call without TLS."""
        if (
            settings.SECURE_SSL_REDIRECT
            and request.path_info.startswith("/api/")
            and not request.is_secure()
        ):
            return error_response(errors.HttpsRequiredError())
        return self._get_response(request)


def error_response(error: errors.ApiError) -> HttpResponse:
    """Return an API error as a Django response, without using the database."""
    response = rendered(error)
    answer = HttpResponse(response.body, status=response.status)
    for name, value in headers_of(response):
        answer[name.decode()] = value.decode()
    answer["Cache-Control"] = "no-store"
    answer["X-Request-Id"] = new_request_id()
    return answer
