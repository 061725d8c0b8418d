"""Adapters of django-allauth: creating users, sending emails, client IP addresses."""

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
from django.utils import timezone, translation
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import encryption
from accounts.client_ip import client_ip
from accounts.languages import language_for_address
from accounts.models import User
from accounts.zones import moment_for
from api.service import current_service
from portal.emails import sending
from portal.emails.kinds import SECURITY_NOTICES
from portal.sign_in.onboarding import is_invited, note_sign_up, open_books
from portal.ui.devices import device_name

log = structlog.get_logger(__name__)

# allauth's emails that someone is waiting for: (ours, the context variables it needs)
_EMAILS = {
    "email_confirmation": ("email_code", ["code"]),
    "email_confirmation_signup": ("email_code", ["code"]),
    "account_already_exists": ("account_exists", ["password_reset_url"]),
    "unknown_account": ("unknown_account", ["signup_url"]),
    "password_reset_key": ("password_reset", ["password_reset_url"]),
}

# The addresses that notices of changed and deleted ones name.
_ADDRESSES = ("from_email", "to_email", "deleted_email")

_WAYS = {
    "reauthenticate": _("Use your password"),
    "mfa_reauthenticate": _("Use your authenticator app or a recovery code"),
    "mfa_reauthenticate:webauthn": _("Use your passkey"),
}


class AccountAdapter(DefaultAccountAdapter):
    """The account adapter: opens new users' books, sends our emails, finds the client's address."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": _("The email address or password is incorrect."),
        "too_many_login_attempts": _("Too many failed attempts. Try again in five minutes."),
        "rate_limited": _("Too many requests. Try again in a minute."),
        "incorrect_code": _("Incorrect code. Check the latest email, or request a new code."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return whether sign-up is open, or the session has an invitation."""
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
        """Send one of allauth's emails with our text: security notices later, the others now."""
        name = template_prefix.rpartition("/")[2]
        if name in SECURITY_NOTICES:
            with translation.override(language_for_address(email)):
                sending.send_later("security_notice", email, self._notice(name, context))
            return
        ours, needed = _EMAILS[name]
        try:
            sending.send(ours, email, {each: _ours(each, context[each]) for each in needed})
        except (SMTPException, OSError):
            # Shown whether or not the address has an account.
            log.exception("mail_not_sent", mail=ours)
            messages.error(
                allauth_context.request,
                gettext("We couldn't send the email. Try again in a few minutes."),
            )

    def get_reauthentication_methods(
        self, user: AbstractBaseUser | AnonymousUser
    ) -> list[dict[str, Any]]:
        """Return the user's ways to reauthenticate, with our descriptions."""
        methods = super().get_reauthentication_methods(user)
        return [{**each, "description": _WAYS[each["id"]]} for each in methods]

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's IP address, which allauth's rate limits use."""
        return client_ip(request)

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Return the key under which failures are counted: the account alone.

        allauth's own key includes the request's Host, so that changing its port, which
        ALLOWED_HOSTS ignores, would allow another five attempts.
        """
        return str(credentials.get("email", "")).strip().lower()

    def _notice(self, name: str, context: dict[str, Any]) -> dict[str, str]:
        addresses = {each: str(context[each]) for each in _ADDRESSES if each in context}
        return {
            "notice": name,
            **addresses,
            "at": moment_for(timezone.now(), getattr(context.get("user"), "zone", "")),
            "ip": str(context.get("ip", "")),
            "device": device_name(str(context.get("user_agent", ""))),
        }


def _ours(name: str, value: Any) -> Any:
    """Return a context variable for our email, with links moved to BASE_URL.

    allauth builds them from the request's Host, which the client chooses: an attacker could make
    someone else's reset link point to their own host.
    """
    if not name.endswith("_url"):
        return value
    return urljoin(settings.BASE_URL, urlsplit(value)._replace(scheme="", netloc="").geturl())


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """The social account adapter: opens the books of users who sign up through a provider."""

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
        """Return whether sign-up is open, or the session has an invitation."""
        return settings.SIGNUP_OPEN or is_invited(request, cast(User, sociallogin.user).email)


class MFAAdapter(DefaultMFAAdapter):
    """The MFA adapter: encrypts seeds, names the service to authenticator apps and passkeys."""

    error_messages = {
        **DefaultMFAAdapter.error_messages,
        "incorrect_code": _("Incorrect code. Codes change every 30 seconds: try the next one."),
    }

    def encrypt(self, text: str) -> str:
        """Return the ciphertext of a seed: an authenticator app's or the recovery codes'."""
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
        """Return the name of a new passkey whose owner gave none: the device's."""
        return device_name(allauth_context.request.headers.get("User-Agent", ""))

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return a passkey's relying party: the host, under the service's name."""
        return {**super().get_public_key_credential_rp_entity(), "name": current_service().name}
