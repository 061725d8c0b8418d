"""Guards of staff's second factors: a password alone neither enrols nor changes one.

Someone who steals a staff member's password before they have a second factor could enroll their own
and enter the admin. So the first one requires a code that is emailed to the verified primary
address, and every later change requires a second factor verified in this session, even in a session
that was opened before. Addresses are guarded like factors, or the code could go to a new one.
"""

import secrets
import time
from typing import cast

from allauth.account.models import EmailAddress
from allauth.mfa.utils import is_mfa_enabled
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.staff_site import SECOND_FACTORS, has_shown_second_factor, second_step_url_name
from portal.emails import sending
from portal.ui.rate_limits import is_over_limit

CODE_MINUTES = 15
CODES_PER_USER = "5/h"
TRIES_PER_USER = "10/h"

_GUARDED = {
    *("mfa_activate_totp", "mfa_deactivate_totp", "mfa_add_webauthn", "mfa_remove_webauthn"),
    *("mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_download_recovery_codes"),
}
_GUARDED_FORMS = {"account_email"}
_SENT_SESSION_KEY = "mailbox_code"
_PROOF_SESSION_KEY = "mailbox_proof"


def guard(request: HttpRequest, view_name: str) -> HttpResponse | None:
    """Return a redirect to the proof that a staff member lacks for this page, or None."""
    is_change = view_name in _GUARDED_FORMS and request.method == "POST"
    if not is_change and view_name not in _GUARDED:
        return None
    # Verifying an address that the account already has changes nothing for anyone else.
    if is_change and "action_send" in request.POST:
        return None
    user = request.user
    if not isinstance(user, User) or not user.is_staff or has_shown_second_factor(request):
        return None
    if has_second_factor(user):
        return _redirect(second_step_url_name(request), request)
    if _is_mailbox_proved(request):
        return None
    return _redirect("confirm_mailbox", request)


def has_second_factor(user: User) -> bool:
    """Return whether the user has a second factor other than recovery codes."""
    return is_mfa_enabled(user, SECOND_FACTORS)


def mailbox_of(user: User) -> str:
    """Return the user's verified primary address, or ""."""
    found = EmailAddress.objects.filter(user=user, primary=True, verified=True).first()
    return found.email if found is not None else ""


def send_code(request: HttpRequest) -> bool:
    """Email a code to the user's address; an earlier one is void. False: too many were sent.

    Raise SMTPException or OSError where the mail server refuses.
    """
    if is_over_limit(request, "mailbox code", CODES_PER_USER):
        return False
    user = cast(User, request.user)
    address, code = mailbox_of(user), f"{secrets.randbelow(10**6):06}"
    request.session[_SENT_SESSION_KEY] = {
        "digest": _digest(user, address, code),
        "expires_at": time.time() + CODE_MINUTES * 60,
    }
    sending.send("staff_code", address, {"code": code, "minutes": CODE_MINUTES})
    return True


def is_code_sent(request: HttpRequest) -> bool:
    """Return whether a code that was sent is still valid."""
    sent = request.session.get(_SENT_SESSION_KEY)
    return sent is not None and time.time() < sent["expires_at"]


def accept_code(request: HttpRequest, code: str) -> str:
    """Record in the session that the user has access to the mailbox. Return "", or the problem."""
    # Counted across sessions: with the password, an attacker can open many.
    if is_over_limit(request, "mailbox code try", TRIES_PER_USER):
        return _("Too many attempts. Try again in an hour.")
    user = cast(User, request.user)
    address = mailbox_of(user)
    if not is_code_sent(request):
        return _("This code has expired. Send a new one.")
    digest = request.session[_SENT_SESSION_KEY]["digest"]
    if not constant_time_compare(digest, _digest(user, address, code)):
        return _("Incorrect code. Check the latest email, or send a new code.")
    del request.session[_SENT_SESSION_KEY]
    request.session[_PROOF_SESSION_KEY] = {"address": address, "at": time.time()}
    return ""


def next_url(request: HttpRequest) -> str:
    """Return the requested page if it is on this site, else the page of second factors."""
    url = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME, "")
    is_ours = url_has_allowed_host_and_scheme(
        url, {request.get_host()}, require_https=request.is_secure()
    )
    return url if is_ours else reverse("mfa_index")


def _is_mailbox_proved(request: HttpRequest) -> bool:
    """Return whether the user has recently proved access to their current address."""
    proof = request.session.get(_PROOF_SESSION_KEY)
    if proof is None or time.time() - proof["at"] > settings.ACCOUNT_REAUTHENTICATION_TIMEOUT:
        return False
    return bool(proof["address"] == mailbox_of(cast(User, request.user)))


def _digest(user: User, address: str, code: str) -> str:
    """Return what a session keeps of a code. It is bound to the user and the address."""
    text = f"{user.pk}:{address}:{code}"
    return salted_hmac("portal.sign_in.staff_factors", text, algorithm="sha256").hexdigest()


def _redirect(name: str, request: HttpRequest) -> HttpResponse:
    query = QueryDict(mutable=True)
    query[REDIRECT_FIELD_NAME] = request.get_full_path()
    return redirect(f"{reverse(name)}?{query.urlencode(safe='/')}")
