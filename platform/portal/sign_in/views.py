"""Ending a session on any device, and following a referral link."""

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from billing.payments import promotions
from portal.sign_in.onboarding import REFERRAL_SESSION_KEY
from portal.sign_in.presenters import device_name


@require_POST
@login_required
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """Sign the user out on another device. This one's session ends by signing out."""
    session = get_object_or_404(UserSession, pk=session_id, user=request.user)
    if session.is_current():
        return redirect("account_logout")
    session.end()
    messages.success(request, f"Signed out: {device_name(session.user_agent)}.")
    return redirect("usersessions_list")


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
