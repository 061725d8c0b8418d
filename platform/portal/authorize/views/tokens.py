"""The endpoints that programs call to sign in: RFC 8628, RFC 6749 and RFC 7009.

Clients are public and need no registration, so what they send of themselves is ignored, as is
every parameter that isn't known (RFC 6749, 3.2).
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from accounts import device_sign_in
from accounts.client_ip import client_ip
from accounts.oauth import OAuthError
from portal.ui.rate_limits import seconds_to_wait

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_CLIENTS = {"claude_code": "Claude Code"}
_FORM = "application/x-www-form-urlencoded"


@csrf_exempt
@require_POST
@never_cache
def device_authorization(request: HttpRequest) -> HttpResponse:
    """Begin a device's sign-in (RFC 8628, 3.1)."""
    wait_seconds = seconds_to_wait(request, "device sign-in", settings.DEVICE_CODE_RATE, "ip")
    if wait_seconds is not None:
        problem = OAuthError("slow_down", "Too many sign-ins from this address.", 429)
        answer = _refusal(problem)
        answer["Retry-After"] = str(wait_seconds)
        return answer
    surface = request.POST.get("surface", "")
    codes = device_sign_in.start(
        client=_CLIENTS.get(surface, "Device"),
        user_agent=request.headers.get("user-agent", "").replace("\0", ""),
        ip_address=client_ip(request),
    )
    page = settings.BASE_URL.rstrip("/") + reverse("device")
    return _answer(
        device_code=codes.device_code,
        user_code=codes.user_code,
        verification_uri=page,
        verification_uri_complete=f"{page}?user_code={codes.user_code}",
        expires_in=device_sign_in.CODE_SECONDS,
        interval=device_sign_in.INTERVAL_SECONDS,
    )


@csrf_exempt
@require_POST
@never_cache
def token(request: HttpRequest) -> HttpResponse:
    """Exchange a device code or a refresh token for tokens (RFC 8628, 3.4; RFC 6749, 6)."""
    address = client_ip(request)
    try:
        grant = _parameter(request, "grant_type")
        if grant == DEVICE_GRANT:
            device_code = _parameter(request, "device_code")
            tokens = device_sign_in.exchange(device_code, ip_address=address)
        elif grant == "refresh_token":
            refresh_token = _parameter(request, "refresh_token")
            tokens = device_sign_in.refresh(refresh_token, ip_address=address)
        else:
            raise OAuthError("unsupported_grant_type")
    except OAuthError as error:
        return _refusal(error)
    return _answer(
        access_token=tokens.access_token,
        token_type="Bearer",  # noqa: S106  (RFC 6750)
        expires_in=tokens.expires_in_seconds,
        refresh_token=tokens.refresh_token,
        email=tokens.email,
    )


@csrf_exempt
@require_POST
@never_cache
def revoke(request: HttpRequest) -> HttpResponse:
    """End what a token gives access to (RFC 7009). An unknown token is answered like a known."""
    try:
        device_sign_in.revoke(_parameter(request, "token"), ip_address=client_ip(request))
    except OAuthError as error:
        return _refusal(error)
    return HttpResponse(status=200)


def _parameter(request: HttpRequest, name: str) -> str:
    """Return a parameter of the form. Raise OAuthError unless it is there exactly once."""
    if request.content_type != _FORM:
        raise OAuthError("invalid_request", f"Send a form: {_FORM}.")
    values = request.POST.getlist(name)
    if len(values) != 1 or not values[0]:
        raise OAuthError("invalid_request", f"Send {name} once.")
    return values[0]


def _answer(**fields: Any) -> HttpResponse:
    return _uncached(JsonResponse(fields))


def _refusal(error: OAuthError) -> HttpResponse:
    body = {"error": error.code, "error_description": error.description}
    return _uncached(JsonResponse(body, status=error.status))


def _uncached(answer: HttpResponse) -> HttpResponse:
    answer["Pragma"] = "no-cache"  # RFC 6749, 5.1, beside what `never_cache` sets
    return answer
