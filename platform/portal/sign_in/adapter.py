"""Adapters of django-allauth: creating users, sending them emails, their IP addresses."""

from smtplib import SMTPException
from typing import Any, cast
from urllib.parse import urljoin, urlsplit

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context as allauth_context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.forms import BaseForm
from django.http import HttpRequest
from django.utils import timezone

from accounts import encryption
from accounts.client_ip import client_ip
from accounts.models import User
from api.service import current_service
from portal.emails import sending
from portal.emails.kinds import SECURITY_NOTICES
from portal.sign_in.onboarding import is_invited, note_sign_up, open_books
from portal.sign_in.presenters import device_name

log = structlog.get_logger(__name__)

# allauth's emails that somebody waits for: (ours, what it needs of the context)
_EMAILS = {
    "email_confirmation": ("email_code", ["code"]),
    "email_confirmation_signup": ("email_code", ["code"]),
    "account_already_exists": ("account_exists", ["password_reset_url"]),
    "unknown_account": ("unknown_account", ["signup_url"]),
    "password_reset_key": ("password_reset", ["password_reset_url"]),
}

_WAYS = {
    "reauthenticate": "Use your password",
    "mfa_reauthenticate": "Use a code of your app",
    "mfa_reauthenticate:webauthn": "Use your passkey",
}


class AccountAdapter(DefaultAccountAdapter):
    """Opens a new user's books, writes our emails and knows clients by their real address."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "No account has this e-mail address and password.",
        "too_many_login_attempts": "That went wrong too often. Try again in five minutes.",
        "rate_limited": "That was too often. Try again in a minute.",
        "incorrect_code": "That is not the code. Check the latest e-mail, or ask for a new code.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return whether one may sign up: if the operator lets people, or with an invitation."""
        return settings.SIGNUP_OPEN or is_invited(request)

    def save_user(
        self, request: HttpRequest, user: AbstractBaseUser, form: BaseForm, commit: bool = True
    ) -> AbstractBaseUser:
        """Save a new user, with their personal team and its credit account."""
        with transaction.atomic():
            saved = super().save_user(request, user, form, commit)
            if commit:
                open_books(cast(User, saved))
                note_sign_up(request, cast(User, saved))
        return saved

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send one of allauth's emails in our words: notices later, the others now."""
        name = template_prefix.rpartition("/")[2]
        if name in SECURITY_NOTICES:
            sending.send_later("security_notice", email, self._notice(name, context))
            return
        ours, needed = _EMAILS[name]
        try:
            sending.send(ours, email, {each: _ours(each, context[each]) for each in needed})
        except (SMTPException, OSError):
            # The same for an address that has an account and one that has none.
            log.exception("mail_not_sent", mail=ours)
            messages.error(
                allauth_context.request,
                "The e-mail could not be sent. Try again in a few minutes.",
            )

    def get_reauthentication_methods(
        self, user: AbstractBaseUser | AnonymousUser
    ) -> list[dict[str, Any]]:
        """Return the ways for the user to show that it is them, in our words."""
        methods = super().get_reauthentication_methods(user)
        return [{**each, "description": _WAYS[each["id"]]} for each in methods]

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address, by which allauth's limits count."""
        return client_ip(request)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Return what failures are counted by: the account alone.

        allauth's own has the request's Host, too, so that another port in it, which no list of
        hosts refuses, would give another five attempts.
        """
        return str(credentials.get("email", "")).strip().lower()

    def _notice(self, name: str, context: dict[str, Any]) -> dict[str, str]:
        title, sentence = SECURITY_NOTICES[name]
        return {
            "title": title,
            "sentence": sentence.format_map(context),
            "at": f"{timezone.now():%Y-%m-%d %H:%M} UTC",
            "ip": str(context.get("ip", "")),
            "device": device_name(str(context.get("user_agent", ""))),
        }


def _ours(name: str, value: Any) -> Any:
    """Return what an email says, its links under BASE_URL.

    allauth makes them with the request's Host, which is whatever the client sent: a stranger could
    have another's reset link point to a host of theirs.
    """
    if not name.endswith("_url"):
        return value
    return urljoin(settings.BASE_URL, urlsplit(value)._replace(scheme="", netloc="").geturl())


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Opens the books of who signs up through another service."""

    def save_user(
        self, request: HttpRequest, sociallogin: SocialLogin, form: BaseForm | None = None
    ) -> AbstractBaseUser:
        """Save a new user, with their personal team and its credit account."""
        with transaction.atomic():
            user: AbstractBaseUser = super().save_user(request, sociallogin, form)
            open_books(cast(User, user))
            note_sign_up(request, cast(User, user))
        return user

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Return whether one may sign up: if the operator lets people, or with an invitation."""
        return settings.SIGNUP_OPEN or is_invited(request, cast(User, sociallogin.user).email)


class MFAAdapter(DefaultMFAAdapter):
    """Encrypts seeds, and gives the service's name to authenticator apps and passkeys."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": "That did not match. Codes change every 30 seconds: try the next.",
    }

    def encrypt(self, text: str) -> str:
        """Return the ciphertext of a seed: an authenticator app's, or that of recovery codes."""
        return encryption.encrypt(text, encryption.SECOND_FACTOR)

    def decrypt(self, encrypted_text: str) -> str:
        """Return the seed of a ciphertext, or the text itself if it was stored as plaintext.

        Raise accounts.encryption.DecryptionError.
        """
        return encryption.decrypt(encrypted_text, encryption.SECOND_FACTOR)

    def get_totp_issuer(self) -> str:
        """Return the name under which an authenticator app lists its codes."""
        return current_service().name

    def generate_authenticator_name(
        self,
        user: AbstractBaseUser,
        type: Authenticator.Type,  # noqa: A002  (allauth's name)
    ) -> str:
        """Return what a new passkey is called if its owner gives no name: its device."""
        return device_name(allauth_context.request.headers.get("User-Agent", ""))

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return what a passkey belongs to: the host, under the service's name."""
        return {**super().get_public_key_credential_rp_entity(), "name": current_service().name}
