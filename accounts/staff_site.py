"""The admin site: who is admitted, and which models have no pages there.

Staff sign in where customers do, with the same form, rate limits and second step; `/admin/login/`
only redirects there. Every admin page requires a second factor verified in this session, unless
STAFF_SECOND_FACTOR is off.
"""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from unfold.sites import UnfoldAdminSite

SECOND_FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


class StaffSite(UnfoldAdminSite):
    """The admin site (INSTALLED_APPS names its configuration, `accounts.apps.StaffConfig`)."""

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Register the models' pages, except allauth's own.

        allauth's show session keys and TOTP seeds, and anyone who may add an email address or a
        social account to a user could sign in as that user.
        """
        is_many = isinstance(model_or_iterable, list | tuple)
        for model in model_or_iterable if is_many else [model_or_iterable]:
            if model._meta.app_config.name.split(".")[0] != "allauth":
                super().register(model, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the user is staff and has verified a second factor in this session."""
        return super().has_permission(request) and (
            not settings.STAFF_SECOND_FACTOR or has_shown_second_factor(request)
        )

    @method_decorator(never_cache)
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the missing step: sign in, set up a second factor, or verify it.

        Raise PermissionDenied for a user who isn't staff.
        """
        user = request.user
        if not user.is_authenticated:
            return _redirect("account_login", request)
        if not super().has_permission(request):
            raise PermissionDenied
        if self.has_permission(request):
            return HttpResponseRedirect(_next_url(request))
        if is_mfa_enabled(user, SECOND_FACTORS):
            return _redirect(second_step_url_name(request), request)
        messages.info(
            request, "The admin requires two-factor authentication. Set it up here first."
        )
        return redirect("mfa_index")

    def password_change(  # type: ignore[override]  # Django's own redirects, too
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the page where all users change their password."""
        return redirect("account_change_password")


def has_shown_second_factor(request: HttpRequest) -> bool:
    """Return whether one was verified in this session and the user still has one."""
    user = request.user
    if not user.is_authenticated:
        return False
    records = get_authentication_records(request, user)
    has_shown_one = any(record["method"] == "mfa" for record in records)
    return has_shown_one and is_mfa_enabled(user, SECOND_FACTORS)


def second_step_url_name(request: HttpRequest) -> str:
    """Return the URL name of the page that asks a signed-in user for their second factor."""
    methods = [each["id"] for each in get_adapter().get_reauthentication_methods(request.user)]
    return (
        "mfa_reauthenticate" if "mfa_reauthenticate" in methods else "mfa_reauthenticate_webauthn"
    )


def _redirect(name: str, request: HttpRequest) -> HttpResponse:
    query = QueryDict(mutable=True)
    query[REDIRECT_FIELD_NAME] = _next_url(request)
    return HttpResponseRedirect(f"{reverse(name)}?{query.urlencode(safe='/')}")


def _next_url(request: HttpRequest) -> str:
    """Return the requested page's URL if it is on this site, else the admin index."""
    url = request.GET.get(REDIRECT_FIELD_NAME, "")
    is_ours = url_has_allowed_host_and_scheme(
        url, {request.get_host()}, require_https=request.is_secure()
    )
    return url if is_ours else reverse("admin:index")
