"""The page on which a member approves a device that shows a code (RFC 8628, section 3.3)."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import device_sign_in
from accounts.client_ip import client_ip
from accounts.errors import AccountsError, SignInClosedError
from accounts.models import DeviceSignIn
from api.catalogue.snapshot import load_snapshot
from portal.access import MemberRequest, member_page_if, require_recent_sign_in
from portal.authorize.forms import ApprovalForm
from portal.ui.rate_limits import seconds_to_wait, too_many

_LONGEST_CODE = 40


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@member_page_if(lambda actor: actor.may_create_keys())
def device(request: MemberRequest) -> HttpResponse:
    """Ask for the code, then show who asks for what; POST approves or denies, never GET.

    A code in the address (`verification_uri_complete`) only fills in the first step.
    """
    sent = request.POST if request.method == "POST" else request.GET
    user_code = sent.get("user_code", "")[:_LONGEST_CODE].strip()
    if not user_code:
        return render(request, "authorize/enter_code.html")
    wait_seconds = _seconds_to_wait(request)
    if wait_seconds is not None:
        return too_many(request, wait_seconds)
    require_recent_sign_in(request)
    sign_in = device_sign_in.find_pending(user_code)
    if sign_in is None:
        context = {"user_code": user_code, "problem": _("This code is wrong or has expired.")}
        return render(request, "authorize/enter_code.html", context, status=404)
    if request.method != "POST":
        form = ApprovalForm(None, name=sign_in.client)
        return _device_page(request, sign_in, user_code, form)
    if sent.get("decision") != "approve":
        return _deny(request, sign_in)
    return _approve(request, sign_in, user_code)


def _seconds_to_wait(request: MemberRequest) -> int | None:
    """Count a code that was tried, by address and by member (RFC 8628, 5.1)."""
    rate = settings.DEVICE_CODE_RATE
    waits = [
        seconds_to_wait(request, "device code", rate, each, is_any_method=True)
        for each in ("ip", "user")
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _deny(request: MemberRequest, sign_in: DeviceSignIn) -> HttpResponse:
    try:
        device_sign_in.deny(sign_in)
    except SignInClosedError as error:
        context = {"problem": str(error)}
        return render(request, "authorize/enter_code.html", context, status=409)
    return render(request, "authorize/done.html", {"client": sign_in.client, "key": None})


def _approve(request: MemberRequest, sign_in: DeviceSignIn, user_code: str) -> HttpResponse:
    form = ApprovalForm(request.POST, name=sign_in.client)
    if not form.is_valid():
        return _device_page(request, sign_in, user_code, form, status=400)
    try:
        key = device_sign_in.approve(
            request.actor,
            sign_in,
            form.cleaned_data["name"],
            prefix=load_snapshot().service.key_prefix,
            ends_at=form.ends_at,
            budgets=form.budgets,
            ip_address=client_ip(request),
        )
    except SignInClosedError as error:
        context = {"problem": str(error)}
        return render(request, "authorize/enter_code.html", context, status=409)
    except AccountsError as error:
        form.add_error(None, str(error))
        return _device_page(request, sign_in, user_code, form, status=409)
    return render(request, "authorize/done.html", {"client": sign_in.client, "key": key})


def _device_page(
    request: MemberRequest,
    sign_in: DeviceSignIn,
    user_code: str,
    form: ApprovalForm,
    status: int = 200,
) -> HttpResponse:
    context: dict[str, Any] = {
        "sign_in": sign_in,
        "user_code": user_code.upper(),
        "form": form,
        "is_other_address": sign_in.ip_address != client_ip(request),
    }
    return render(request, "authorize/device.html", context, status=status)
