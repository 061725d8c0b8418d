"""The languages that readers can choose, by Django's names for them."""

from django.conf import settings
from django.utils import translation

from accounts.models import User


def known_language(code: str) -> str:
    """Return the code if the service has that language, else an empty text."""
    return code if code in dict(settings.LANGUAGES) else ""


def language_for_address(address: str) -> str:
    """Return the language for an email: the profile's of the user with that address.

    For anyone else it is the language that is active: the page's that sends the email, or English
    in a task.
    """
    chosen = User.objects.filter(email__iexact=address).values_list("language", flat=True).first()
    return known_language(chosen or "") or translation.get_language() or settings.LANGUAGE_CODE
