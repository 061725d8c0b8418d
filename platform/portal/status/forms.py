"""The form of the status page."""

from django import forms


class SubscriptionForm(forms.Form):
    """An address for status updates."""

    email = forms.EmailField(
        label="Email",
        max_length=254,
        widget=forms.EmailInput(attrs={"autocomplete": "email", "placeholder": "you@example.com"}),
    )
