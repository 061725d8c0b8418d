"""The forms of a user's settings."""

from typing import Any

from django import forms

from accounts.models import NotificationSettings, User
from portal.ui.fields import NanosField, OneLineField


class ProfileForm(forms.Form):
    """A user's name."""

    name = OneLineField(
        max_length=150,
        required=False,
        help_text="Members of your teams see it beside your email address.",
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )


class NotificationsForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The emails a user wants."""

    low_balance_nanos = NanosField(
        label="Alert when below ($)",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        help_text="You hear it once, and again after the balance was above.",
    )

    class Meta:
        model = NotificationSettings
        fields = (
            "low_balance",
            "low_balance_nanos",
            "budget_reached",
            "key_created",
            "new_sign_in",
        )
        labels = {
            "low_balance": "A team's balance is low",
            "budget_reached": "A key has used 90 % or all of its budget",
            "key_created": "A key was made",
            "new_sign_in": "Somebody signed in from a new device",
        }
        help_texts = {
            "low_balance": "For teams whose billing you see.",
            "budget_reached": "For keys you made, and all keys of teams you administer.",
            "key_created": "For keys you made, and all keys of teams you administer.",
            "new_sign_in": "To your account.",
        }


class DeletionForm(forms.Form):
    """The proof that it is really the user who wants to go, and knows what is lost."""

    proof = forms.CharField(max_length=1000)
    forfeits = forms.BooleanField(
        label="I give up the credit that is left. It is not paid back.",
        error_messages={"required": "Tick this to go on: the credit can't be brought back."},
    )

    def __init__(self, user: User, *, has_credit: bool, data: Any = None) -> None:
        super().__init__(data)
        self._user = user
        if not has_credit:
            del self.fields["forfeits"]
        proof = self.fields["proof"]
        if user.has_usable_password():
            proof.label = "Your password"
            proof.widget = forms.PasswordInput(attrs={"autocomplete": "current-password"})
        else:
            proof.label = f"Type {user.email} to confirm"
            proof.widget = forms.TextInput(attrs={"autocomplete": "off"})

    def clean_proof(self) -> str:
        """Return what was typed. Raise ValidationError where it proves nothing."""
        typed: str = self.cleaned_data["proof"]
        if self._user.has_usable_password():
            if not self._user.check_password(typed):
                raise forms.ValidationError("This is not your password.")
        elif typed.strip().lower() != self._user.email.lower():
            raise forms.ValidationError("This is not your email address.")
        return typed
