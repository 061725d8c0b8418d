"""Receivers for sign-ups, verified addresses, sign-ins and failed attempts to sign in."""

from typing import Any

import structlog
from allauth.account.models import EmailAddress
from allauth.account.signals import email_confirmed, user_signed_up
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authentication_failed
from allauth.usersessions.models import UserSession
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone, translation

from accounts.client_ip import client_ip
from accounts.languages import language_for_address
from accounts.models import NotificationSettings, User
from accounts.zones import moment_for
from portal.emails import sending
from portal.sign_in.onboarding import grant_trial, grant_trial_to
from portal.ui.devices import device_name

log = structlog.get_logger(__name__)


@receiver(user_login_failed)
def _on_login_failed(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_named: Any
) -> None:
    """Log a wrong password, whatever form it was typed into.

    Only existing accounts are named, since people also type passwords into the wrong field.
    """
    email = credentials.get("email") or credentials.get("username") or ""
    user = User.objects.filter(email__iexact=str(email)).only("pk").first()
    _log_failure(request, "password", user.pk if user else None)


@receiver(authentication_failed)
def _on_second_step_failed(
    request: HttpRequest, user: User, authenticator: Authenticator, **_named: Any
) -> None:
    _log_failure(request, str(authenticator.type), user.pk)


def _log_failure(request: HttpRequest | None, step: str, user_id: int | None) -> None:
    where = {} if request is None else {"ip": client_ip(request), "path": request.path}
    log.warning("sign_in_failed", step=step, user_id=user_id, **where)


@receiver(email_confirmed)
def _on_email_confirmed(email_address: EmailAddress, **_named: Any) -> None:
    grant_trial(email_address.user, email_address.email)


@receiver(user_signed_up)
def _on_signed_up(user: User, **_named: Any) -> None:
    """Grant trial credit to users whose address is already verified, by invitation or provider."""
    grant_trial_to(user)


@receiver(user_logged_in)
def _on_logged_in(request: HttpRequest, user: User, **_named: Any) -> None:
    """Log a sign-in, and email the user if none of their sessions was on this device and address.

    It runs before allauth deletes the sessions that have ended since the last sign-in, so a user
    who signs out every evening is recognized in the morning. The first sign-in is not reported.
    """
    ip, device = client_ip(request), device_name(request.headers.get("User-Agent", ""))
    log.info("signed_in", user_id=user.pk, ip=ip)
    sessions = list(UserSession.objects.filter(user=user).values_list("ip", "user_agent"))
    if not sessions or (ip, device) in {(known, device_name(agent)) for known, agent in sessions}:
        return
    if not NotificationSettings.of(user).new_sign_in:
        return
    with translation.override(language_for_address(user.email)):
        device = device_name(request.headers.get("User-Agent", ""))
        at = moment_for(timezone.now(), user.zone)
        sending.send_later("new_sign_in", user.email, {"ip": ip, "device": device, "at": at})
