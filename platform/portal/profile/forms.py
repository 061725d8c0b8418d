"""The forms of a user's settings."""

from typing import Any

from django import forms
from django.conf import settings
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import NotificationSettings, User
from accounts.zones import zone_names
from portal.ui.fields import NanosField, OneLineField


class ProfileForm(forms.Form):
    """A user's name, time zone and language."""

    name = OneLineField(
        label=_("Name"),
        max_length=150,
        required=False,
        help_text=_("Shown to your teams' members next to your email."),
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    zone = forms.ChoiceField(
        label=_("Time zone"),
        required=False,
        widget=forms.Select(attrs={"translate": "no"}),
        help_text=_("For times on pages and in emails. Days of charts and budgets are in UTC."),
    )
    language = forms.ChoiceField(
        label=_("Language"),
        required=False,
        widget=forms.Select(attrs={"translate": "no"}),
        choices=[("", _("Same as browser")), *settings.LANGUAGES],
        help_text=_("For pages and emails."),
    )

    def __init__(self, data: Any, user: User) -> None:
        initial = {"name": user.name, "zone": user.zone, "language": user.language}
        super().__init__(data, initial=initial)
        names = [(name, name.replace("_", " ")) for name in zone_names()]
        field = self.fields["zone"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  (for the type alone)
        field.choices = [("", _("Same as browser")), *names]


class NotificationsForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The emails a user wants."""

    low_balance_nanos = NanosField(
        label=_("Alert when below ($)"),
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        help_text=_("Sent once each time the balance falls below this amount."),
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
            "low_balance": _("Low team balance"),
            "budget_reached": _("Key at 90% or 100% of a budget"),
            "key_created": _("New API key"),
            "new_sign_in": _("Sign-in from a new device"),
        }
        help_texts = {
            "low_balance": _("For teams whose billing you can see."),
            "budget_reached": _("For keys you created and all keys in teams you administer."),
            "key_created": _("For keys you created and all keys in teams you administer."),
            "new_sign_in": _("For your account."),
        }


class DeletionForm(forms.Form):
    """The proof that it is really the user who wants to go, and knows what is lost."""

    proof = forms.CharField(max_length=1000)
    forfeits = forms.BooleanField(
        label=_("I understand that my remaining credits are forfeited and won't be refunded."),
        error_messages={"required": _("Confirm this to continue. The credits can't be restored.")},
    )

    def __init__(self, user: User, *, has_credit: bool, data: Any = None) -> None:
        super().__init__(data)
        self._user = user
        if not has_credit:
            del self.fields["forfeits"]
        proof = self.fields["proof"]
        if user.has_usable_password():
            proof.label = gettext("Your password")
            proof.widget = forms.PasswordInput(attrs={"autocomplete": "current-password"})
        else:
            proof.label = gettext("Type {email} to confirm").format(email=user.email)
            proof.widget = forms.TextInput(attrs={"autocomplete": "off"})

    def clean_proof(self) -> str:
        """Return what was typed. Raise ValidationError where it proves nothing."""
        typed: str = self.cleaned_data["proof"]
        if self._user.has_usable_password():
            if not self._user.check_password(typed):
                raise forms.ValidationError(gettext("Incorrect password."))
        elif typed.strip().lower() != self._user.email.lower():
            raise forms.ValidationError(gettext("That's not your email."))
        return typed
