"""The texts of the scripts that call the API (`static/js/relay`), in the reader's language."""

from django.utils.translation import gettext as _


def relay_texts() -> dict[str, str]:
    """Return what the chat and the playground say of a request, by the scripts' names for it."""
    return {
        "signed_out": _("You’re signed out. Reload the page to sign in again."),
        "unreachable": _("The service can't be reached. Check your connection and try again."),
        "page_failed": _("The page could not do this ({status}). Reload it and try again."),
        "service_answered": _("The service answered {status}."),
        "wait_seconds": _("Try again in {seconds} seconds."),
        "wait": _("Wait a little and try again."),
        "complete": _("The answer is complete."),
        "stopped": _("Stopped."),
    }
