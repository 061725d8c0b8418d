"""The tree of errors and their renderer (acceptance points 37 and 38)."""

import json
import subprocess
import sys
from typing import Any

import pytest
import structlog
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions as drf

from accounts.errors import KeyNotActiveError
from api import errors
from api.drf import exception_handler
from api.error_responses import render, render_body


class Surface:
    def __init__(self, auth_error_type: str) -> None:
        self.auth_error_type = auth_error_type


OPENAI, WEATMOOD = Surface("invalid_request_error"), Surface("authentication_error")


def every_error(kind: type[errors.ApiError] = errors.ApiError) -> list[type[errors.ApiError]]:
    """Return the errors of `api.errors`; other modules' own are there when their tests ran."""
    children = [child for child in kind.__subclasses__() if child.__module__ == errors.__name__]
    return [kind, *(each for child in children for each in every_error(child))]


def rendered(error: errors.ApiError, surface: Any = None) -> tuple[int, dict[str, str], Any]:
    status, headers, body = render(error, surface)
    return status, {name.decode(): value.decode() for name, value in headers}, json.loads(body)


@pytest.mark.parametrize("kind", every_error())
def test_a37_every_error_renders_in_openais_shape(kind: type[errors.ApiError]) -> None:
    status, headers, body = rendered(kind())
    assert status == kind.status
    assert list(body) == ["error"]
    assert list(body["error"]) == ["message", "type", "code", "param"]
    assert body["error"]["code"] == kind.code
    assert headers["content-type"] == "application/json"
    assert int(headers["content-length"]) == len(render_body(kind()))


@pytest.mark.parametrize("kind", every_error())
def test_the_docstring_draws_every_class_with_its_status_and_code(kind) -> None:
    line = next(
        line
        for line in errors.__doc__.splitlines()
        if line.split()[-1:] == [kind.__name__] or f" {kind.__name__} " in f"{line} "
    )
    if kind.__name__ not in {"ApiError", "MissingApiKeyError", "InvalidApiKeyError"}:
        assert f" {kind.status} {kind.code}" in line


@pytest.mark.parametrize("kind", every_error())
def test_messages_are_sentences_that_tell_what_to_do(kind: type[errors.ApiError]) -> None:
    message = kind("").message if not kind.template else kind.about("a", "b").message
    assert message.endswith(".")
    assert len(message.split()) > 4


@pytest.mark.parametrize("kind", [errors.InvalidApiKeyError, errors.MissingApiKeyError])
def test_a38_a_401_has_param_null_on_openais_surfaces(kind) -> None:
    status, headers, body = rendered(kind(), OPENAI)
    assert status == 401
    assert body["error"]["type"] == "invalid_request_error"
    assert body["error"]["code"] == "invalid_api_key"
    assert body["error"]["param"] is None
    assert headers["www-authenticate"] == "Bearer"


def test_a38_a_401_is_an_authentication_error_without_param_where_the_surface_says_so() -> None:
    _, _, body = rendered(errors.InvalidApiKeyError(), WEATMOOD)
    assert list(body["error"]) == ["message", "type", "code"]
    assert body["error"]["type"] == "authentication_error"
    assert body["error"]["message"].startswith("Invalid API key provided.")
    _, _, body = rendered(errors.ModelNotFoundError.about("x"), WEATMOOD)
    assert body["error"]["type"] == "invalid_request_error"
    assert "param" in body["error"]


def test_a_missing_model_is_named() -> None:
    status, _, body = rendered(errors.ModelNotFoundError.about("gpt-{}-%s"))
    assert status == 404
    assert "'gpt-{}-%s'" in body["error"]["message"]
    assert body["error"]["param"] == "model"


def test_a_clients_text_is_cut_and_cleaned() -> None:
    error = errors.ModelNotFoundError.about("é\ud800" * 1_000_000)
    assert len(render_body(error)) < 1_000
    error = errors.InvalidValueError("x" * 1_000_000, param="\udfff" * 1_000_000)
    assert len(render_body(error)) < 3_000
    assert json.loads(render_body(error))["error"]["param"] == "?" * 200


def test_header_values_can_break_no_line() -> None:
    error = errors.ApiError(headers={"X-Note": "a\r\nSet-Cookie: b\0ü\N{SNOWMAN}"})
    _, headers, _ = render(error)
    for name, value in headers:
        assert name == name.lower()
        assert all(32 <= byte < 127 for byte in value)


def test_retry_after_is_at_least_a_second() -> None:
    assert rendered(errors.RateLimitError(retry_after_seconds=0))[1]["retry-after"] == "1"
    assert rendered(errors.TokensRateLimitError(retry_after_seconds=41))[1]["retry-after"] == "41"
    assert rendered(errors.ServiceUnavailableError())[1]["retry-after"] == "5"
    error = errors.ServiceUnavailableError(retry_after_seconds=9)
    assert rendered(error)[1]["retry-after"] == "9"


def test_one_instances_headers_are_not_the_others() -> None:
    errors.InvalidApiKeyError().headers["X"] = "1"
    assert "X" not in errors.InvalidApiKeyError().headers


@pytest.mark.parametrize(
    ("raised", "status", "code", "param"),
    [
        (drf.ParseError(), 400, "invalid_json", None),
        (drf.NotAuthenticated(), 401, "invalid_api_key", None),
        (drf.AuthenticationFailed(), 401, "invalid_api_key", None),
        (drf.PermissionDenied(), 403, "permission_denied", None),
        (PermissionDenied(), 403, "permission_denied", None),
        (drf.NotFound(), 404, "not_found", None),
        (Http404(), 404, "not_found", None),
        (drf.MethodNotAllowed("PUT"), 405, "method_not_allowed", None),
        (drf.NotAcceptable(), 400, "invalid_request_error", None),
        (KeyNotActiveError("It is revoked."), 409, "conflict", None),
        (RequestDataTooBig(), 413, "request_too_large", None),
        (drf.UnsupportedMediaType("text/xml"), 415, "unsupported_media_type", None),
        (drf.Throttled(wait=12.5), 429, "rate_limit_exceeded", None),
        (SuspiciousOperation(), 400, "invalid_request_error", None),
        (OperationalError("gone"), 503, "service_unavailable", None),
        (RuntimeError("a secret of ours"), 500, "internal_error", None),
        (errors.ContextLengthError(), 400, "context_length_exceeded", None),
        (
            drf.ValidationError({"name": ["No."]}, code="required"),
            400,
            "missing_required_parameter",
            "name",
        ),
        (drf.ValidationError({"a": {1: {"b": ["No."]}}}), 400, "invalid_type", "a[1].b"),
        (
            drf.ValidationError({"a": [{}, {"b": ["No."]}]}, code="x"),
            400,
            "invalid_value",
            "a[1].b",
        ),
        (drf.ValidationError(["No."]), 400, "invalid_type", None),
        (drf.ValidationError({"non_field_errors": ["No."]}, code="x"), 400, "invalid_value", None),
    ],
)
def test_drf_and_django_exceptions_become_the_apis_errors(raised, status, code, param) -> None:
    with structlog.testing.capture_logs() as logs:
        response = exception_handler(raised, {"view": None})
    body = json.loads(response.content)
    assert response.status_code == status
    assert body["error"]["code"] == code
    assert body["error"]["param"] == param
    assert response["Content-Type"] == "application/json"
    assert "a secret of ours" not in response.content.decode()
    assert bool(logs) == (status >= 500)
    if status == 401:
        assert response["WWW-Authenticate"] == "Bearer"
    if status == 429:
        assert response["Retry-After"] == "13"  # rounded up


def test_rendering_loads_no_drf() -> None:
    code = (
        "import sys; from django.conf import settings; settings.configure(USE_I18N=False); "
        "from api import error_responses, errors; "
        "error_responses.render(errors.InvalidApiKeyError()); print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "rest_framework" not in result.stdout.split()
