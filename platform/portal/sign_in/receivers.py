"""Receivers for sign-up, a verified address and sign-in."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.signals import email_confirmed, user_signed_up
from allauth.usersessions.models import UserSession
from django.contrib.auth.signals import user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from accounts.client_ip import client_ip
from accounts.models import NotificationSettings, User
from portal.emails import sending
from portal.sign_in.onboarding import grant_trial, grant_trial_to
from portal.sign_in.presenters import device_name


@receiver(email_confirmed)
def _on_email_confirmed(email_address: EmailAddress, **_named: Any) -> None:
    grant_trial(email_address.user, email_address.email)


@receiver(user_signed_up)
def _on_signed_up(user: User, **_named: Any) -> None:
    """Serve those whose address was verified before: by an invitation or another service."""
    grant_trial_to(user)


@receiver(user_logged_in)
def _on_logged_in(request: HttpRequest, user: User, **_named: Any) -> None:
    """Tell the user of a sign-in from a device that none of their sessions is on.

    It runs before allauth forgets the sessions that have ended since the last sign-in, so who
    signs out every evening is known in the morning. The very first sign-in is not reported.
    """
    sessions = list(UserSession.objects.filter(user=user).values_list("ip", "user_agent"))
    here = client_ip(request), device_name(request.headers.get("User-Agent", ""))
    if not sessions or here in {(ip, device_name(agent)) for ip, agent in sessions}:
        return
    if not NotificationSettings.of(user).new_sign_in:
        return
    ip, device = here
    at = f"{timezone.now():%Y-%m-%d %H:%M} UTC"
    sending.send_later("new_sign_in", user.email, {"ip": ip, "device": device, "at": at})
