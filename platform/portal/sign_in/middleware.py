"""Guards in front of allauth's pages: rate limits, and proofs for staff's second factors.

The limits are per IP address, on signing in, signing up and resetting a password. In addition,
allauth counts failures per account. Above a limit, the answer is a 429 page that says when to try
again.
"""

from collections.abc import Callable
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from portal.sign_in import staff_factors
from portal.ui.rate_limits import seconds_to_wait, too_many

# A form's URL name: (the rate limit's group, the setting with the rate)
_LIMITS = {
    "account_login": ("sign in", "SIGN_IN_RATE"),
    "account_signup": ("sign up", "SIGN_UP_RATE"),
    "account_reset_password": ("reset", "PASSWORD_RESET_RATE"),
}


class SignInLimits(MiddlewareMixin):
    """Middleware that counts submissions of the forms above before their views run."""

    def process_view(
        self, request: HttpRequest, _view: Callable[..., Any], _args: Any, _kwargs: Any
    ) -> HttpResponse | None:
        """Return a 429 if a limit is exceeded."""
        match = request.resolver_match
        limit = _LIMITS.get(match.view_name) if match else None
        if limit is None:
            return None
        group, setting = limit
        wait_seconds = seconds_to_wait(request, group, getattr(settings, setting), "ip")
        return None if wait_seconds is None else too_many(request, wait_seconds)


class StaffFactorGuard(MiddlewareMixin):
    """Middleware that asks staff for more than the password before a second factor changes."""

    def process_view(
        self, request: HttpRequest, _view: Callable[..., Any], _args: Any, _kwargs: Any
    ) -> HttpResponse | None:
        """Return a redirect to the missing proof."""
        match = request.resolver_match
        return staff_factors.guard(request, match.view_name) if match else None


def count_sign_up(request: HttpRequest) -> None:
    """Count a sign-up, including one for an address that already has an account.

    Raise ImmediateHttpResponse (429) if the IP address has used up its sign-ups for the day.
    """
    rate = f"{settings.SIGN_UPS_PER_DAY}/d"
    wait_seconds = seconds_to_wait(request, "signed up", rate, "ip")
    if wait_seconds is not None:
        raise ImmediateHttpResponse(too_many(request, wait_seconds))
