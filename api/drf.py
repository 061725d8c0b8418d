"""Exceptions of Django and DRF, converted to errors of the API (`api/errors.py`)."""

from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponse
from rest_framework import exceptions as drf
from rest_framework.views import set_rollback

from accounts.errors import AccountsError
from api import errors
from api.error_responses import render

_log = structlog.get_logger(__name__)

# The first class that fits decides. Their own texts say too little, or name our insides.
_PLAIN: tuple[tuple[type[Exception], type[errors.ApiError]], ...] = (
    (drf.NotAuthenticated, errors.MissingApiKeyError),
    (drf.AuthenticationFailed, errors.InvalidApiKeyError),
    (drf.NotFound, errors.NotFoundError),
    (Http404, errors.NotFoundError),
    (PermissionDenied, errors.PermissionDeniedError),
    (drf.UnsupportedMediaType, errors.UnsupportedMediaTypeError),
    (RequestDataTooBig, errors.RequestTooLargeError),
    (SuspiciousOperation, errors.InvalidRequestError),
    (OperationalError, errors.ServiceUnavailableError),
    (InterfaceError, errors.ServiceUnavailableError),
)
# DRF's and Django's validators name what they found by these; any other is a bad value.
_BY_VALIDATION_CODE: dict[str, type[errors.InvalidRequestError]] = {
    "required": errors.MissingParameterError,
    "unknown_parameter": errors.UnknownParameterError,
    "invalid": errors.InvalidTypeError,
    "null": errors.InvalidTypeError,
    "not_a_list": errors.InvalidTypeError,
    "not_a_dict": errors.InvalidTypeError,
}


def exception_handler(exception: Exception, context: dict[str, Any]) -> HttpResponse:
    """Return the response to an exception in a DRF view (settings.REST_FRAMEWORK names this).

    An unknown exception is a 500, logged with its traceback.

    The view adds `x-request-id`, which is bound to the log's context.
    """
    set_rollback()
    error = error_from(exception)
    if error.status >= 500:
        view = type(context["view"]).__name__ if context.get("view") else None
        _log.error("request_failed", view=view, status=error.status, exc_info=exception)
    status, headers, body = render(error)
    response = HttpResponse(body, status=status)
    for name, value in headers:
        response[name.decode("ascii")] = value.decode("ascii")
    return response


def error_from(exception: Exception) -> errors.ApiError:
    """Return the API's error for an exception that a DRF view raised."""
    match exception:
        case errors.ApiError():
            return exception
        case AccountsError():
            return errors.ConflictError(str(exception))
        case drf.ValidationError():
            return _from_validation(exception)
        case drf.ParseError():
            return errors.InvalidJsonError()
        case drf.PermissionDenied():
            # The only one with a text for the client: what Django's CSRF check found.
            return errors.PermissionDeniedError(str(exception.detail))
        case drf.MethodNotAllowed():
            return errors.MethodNotAllowedError()
        case drf.Throttled():
            wait = exception.wait  # type: ignore[attr-defined]  # set where it is known, in seconds
            return errors.RateLimitError(retry_after_seconds=int(wait or 1))
    for kind, error in _PLAIN:
        if isinstance(exception, kind):
            return error()
    if isinstance(exception, drf.APIException) and 400 <= exception.status_code < 500:
        return errors.InvalidRequestError(str(exception.detail))
    return errors.ServerError()


def _from_validation(exception: drf.ValidationError) -> errors.ApiError:
    """Return the error for the first field that a serializer refuses, `param` being its path."""
    path, detail = _first_detail(exception.detail)
    kind = _BY_VALIDATION_CODE.get(str(detail.code), errors.InvalidValueError)
    if kind.template and path:
        return kind.about(path, param=path)
    message = f"Invalid '{errors.quoted(path)}': {detail}" if path else str(detail)
    return kind(message, param=path or None)


def _first_detail(detail: Any, path: str = "") -> tuple[str, drf.ErrorDetail]:
    """Return the path and text of the first error in DRF's nested dictionaries and lists."""
    if isinstance(detail, dict):
        name, inner = next(iter(detail.items()))
        if name == "non_field_errors":
            return _first_detail(inner, path)
        if isinstance(name, int):
            return _first_detail(inner, f"{path}[{name}]")
        return _first_detail(inner, f"{path}.{name}" if path else str(name))
    if isinstance(detail, list):
        for index, inner in enumerate(detail):
            # In a list of objects, those without an error are empty.
            if isinstance(inner, dict) and inner:
                return _first_detail(inner, f"{path}[{index}]")
            if inner:
                return _first_detail(inner, path)
        return path, drf.ErrorDetail("Invalid value.", code="invalid")
    return path, detail
