"""allauth's forms, with our words and our guards."""

from typing import cast

from allauth.account import forms as account
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse

from accounts.models import User
from portal.sign_in import limits
from portal.sign_in.mailboxes import is_disposable


class SignupForm(account.SignupForm):
    """E-mail address and password; what it answers does not tell who has an account."""

    def clean_email(self) -> str:
        """Returns the address. Raises ValidationError for one that is thrown away after use."""
        if is_disposable(self.cleaned_data["email"], settings.DISPOSABLE_EMAIL_DOMAINS):
            raise ValidationError(
                "This service takes no disposable addresses. Use one that will stay yours."
            )
        return str(super().clean_email())

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """Makes the account, or writes to the address that it has one already.

        Raises ImmediateHttpResponse (429) where too many come from one place.
        """
        limits.count_sign_up(request)
        try:
            made: tuple[User | None, HttpResponse | None] = super().try_save(request)
        except IntegrityError:
            # Somebody signed up with the address between our look and our insert.
            self.account_already_exists = True
            made = super().try_save(request)
        return made

    def save(self, request: HttpRequest) -> User:
        """Makes user, team, credit account and the address to verify: all or nothing."""
        with transaction.atomic():
            return cast(User, super().save(request))
