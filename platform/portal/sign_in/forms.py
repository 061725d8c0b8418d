"""allauth's forms, with the service's wording and guards."""

import secrets
from typing import Any, cast

from allauth.account import forms as account
from allauth.account.internal.flows.login import record_authentication
from allauth.core import context as allauth_context
from allauth.mfa.adapter import get_adapter as mfa_adapter
from allauth.mfa.base import forms as second_step
from allauth.mfa.totp.forms import ActivateTOTPForm as AllauthTOTPForm
from allauth.mfa.totp.internal.auth import SECRET_SESSION_KEY
from allauth.mfa.utils import decrypt, encrypt
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.forms import CharField, Form, TextInput
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from portal.sign_in import middleware
from portal.sign_in.onboarding import is_disposable, is_invited


class SignupForm(account.SignupForm):
    """Email address and password. Its response does not reveal whether an account exists."""

    def clean_email(self) -> str:
        """Return the address.

        Raise ValidationError for a disposable address and, while sign-up is closed, for one that
        was not invited.
        """
        if is_disposable(self.cleaned_data["email"], settings.DISPOSABLE_EMAIL_DOMAINS):
            raise ValidationError(
                gettext("Disposable email addresses aren't accepted. Use a permanent one.")
            )
        email = str(super().clean_email())
        if not settings.SIGNUP_OPEN and not is_invited(allauth_context.request, email):
            raise ValidationError(gettext("Sign up with the address the invitation was sent to."))
        return email

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """Create the account, or send an email to the address that it already has one.

        Raise ImmediateHttpResponse (429) after too many sign-ups from one IP address.
        """
        middleware.count_sign_up(request)
        if self.account_already_exists:
            self._make_and_undo(request)
        try:
            made: tuple[User | None, HttpResponse | None] = super().try_save(request)
        except IntegrityError:
            # Someone signed up with the address between our check and our insert.
            self.account_already_exists = True
            made = super().try_save(request)
        if made[0] is not None:
            # They have just chosen the password, so creating a first key must not ask for it again.
            record_authentication(request, made[0], method="password")
        return made

    def _make_and_undo(self, request: HttpRequest) -> None:
        """Create an account and roll it back, so that an address with an account takes as long.

        Hashing the password alone takes some 50 ms, which would reveal that there is an account.
        """
        email = self.cleaned_data["email"]
        self.cleaned_data["email"] = f"{secrets.token_hex(16)}@undone.invalid"
        self.account_already_exists = False
        try:
            with transaction.atomic():
                self.save(request)
                transaction.set_rollback(True)
        finally:
            self.cleaned_data["email"] = email
            self.account_already_exists = True

    def save(self, request: HttpRequest) -> User:
        """Create user, team, credit account and the address to verify, in one transaction."""
        with transaction.atomic():
            return cast(User, super().save(request))


class ActivateTOTPForm(AllauthTOTPForm):
    """An authenticator app's first code.

    Until then its seed is kept in the session, that is, in the database, so it is encrypted there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.secret = decrypt(self.secret)  # in a submitted form: the session's ciphertext
        allauth_context.request.session[SECRET_SESSION_KEY] = encrypt(self.secret)


class MailboxCodeForm(Form):
    """The code that a staff member was emailed before they set up their first second factor."""

    code = CharField(
        label=_("Code"),
        max_length=20,
        widget=TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )

    def clean_code(self) -> str:
        """Return the code without the spaces that people paste."""
        return "".join(self.cleaned_data["code"].split())


_STEP_SECONDS = 30  # of authenticator apps (RFC 6238, section 5.2)


class _SpentCodes(second_step.BaseAuthenticateForm):
    """A second step whose codes work only once (RFC 6238, section 5.2).

    allauth remembers a used code for one time step, but accepts it MFA_TOTP_TOLERANCE steps early
    and late.
    """

    def clean_code(self) -> str:
        """Return the code. Raise ValidationError for a wrong or already used one."""
        code = str(super().clean_code())
        digits = "".join(each for each in code if each.isalnum()).lower()
        seconds = (2 * settings.MFA_TOTP_TOLERANCE + 1) * _STEP_SECONDS
        if not cache.add(f"second-step:{self.user.pk}:{digits}", 1, timeout=seconds):
            raise mfa_adapter().validation_error("incorrect_code")
        return code


class AuthenticateForm(_SpentCodes, second_step.AuthenticateForm):
    """The second step of signing in."""


class ReauthenticateForm(_SpentCodes, second_step.ReauthenticateForm):
    """The second factor as reauthentication."""
