"""The admin's own login form."""

from allauth.mfa.utils import is_mfa_enabled
from django.core.exceptions import ValidationError
from unfold.forms import AuthenticationForm

from accounts.models import User


class AdminSignInForm(AuthenticationForm):
    """E-mail and password, for those staff alone who have no second step to show."""

    def confirm_login_allowed(self, user: User) -> None:
        """Raises ValidationError for who is no staff, or whose second step this form can't ask."""
        super().confirm_login_allowed(user)
        if is_mfa_enabled(user):
            raise ValidationError(
                "Two-step sign-in is on for this account: sign in at /accounts/login/ first.",
                code="second_step",
            )
