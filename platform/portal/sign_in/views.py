"""Ending a session on any device, proving a mailbox, and following a referral link."""

from smtplib import SMTPException
from typing import cast

import structlog
from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.models import User
from billing.payments import promotions
from portal.sign_in import staff_factors
from portal.sign_in.forms import MailboxCodeForm
from portal.sign_in.onboarding import REFERRAL_SESSION_KEY
from portal.ui.devices import device_name

log = structlog.get_logger(__name__)


@require_POST
@login_required
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """Sign the user out on another device. This one's session ends by signing out."""
    session = get_object_or_404(UserSession, pk=session_id, user=request.user)
    if session.is_current():
        return redirect("account_logout")
    session.end()
    text = _("Signed out: {device}.").format(device=device_name(session.user_agent))
    messages.success(request, text)
    return redirect("usersessions_list")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@never_cache
def confirm_mailbox(request: HttpRequest) -> HttpResponse:
    """Ask a staff member without a second factor for a code from their mailbox; POST sends it."""
    user, next_url = cast(User, request.user), staff_factors.next_url(request)
    address = staff_factors.mailbox_of(user)
    if not user.is_staff or staff_factors.has_second_factor(user):
        return redirect("mfa_index")
    if not address:
        messages.error(request, _("Verify your primary email address first."))
        return redirect("account_email")
    form, status = MailboxCodeForm(), 200
    if request.method == "POST" and "code" in request.POST:
        form, status = MailboxCodeForm(request.POST), 422
        if form.is_valid():
            problem = staff_factors.accept_code(request, form.cleaned_data["code"])
            if not problem:
                return redirect(next_url)
            form.add_error("code", problem)
    elif request.method == "POST":
        status = _send_mailbox_code(request)
    context = {
        "form": form,
        "address": address,
        "is_sent": staff_factors.is_code_sent(request),
        "minutes": staff_factors.CODE_MINUTES,
        "next_url": next_url,
    }
    return render(request, "sign_in/confirm_mailbox.html", context, status=status)


def _send_mailbox_code(request: HttpRequest) -> int:
    """Send a code, or leave a message that says why not. Return the page's status."""
    try:
        if staff_factors.send_code(request):
            return 200
    except (SMTPException, OSError):
        log.exception("mail_not_sent", mail="staff_code")
        messages.error(request, _("We couldn't send the email. Try again in a few minutes."))
        return 503
    messages.error(request, _("Too many codes were sent. Try again in an hour."))
    return 429


@require_safe
@never_cache
def referral(request: HttpRequest, code: str) -> HttpResponse:
    """Redirect a stranger to the sign-up, and remembers who sent them."""
    if request.user.is_authenticated:
        return redirect("dashboard")
    link = promotions.find_referral_link(code)
    if link is not None:
        request.session[REFERRAL_SESSION_KEY] = link.code
    return redirect("account_signup")
