"""The pages of a member's settings, in the order of their tabs: (title, name of the URL)."""

from django.conf import settings

_TABS = (
    ("Profile", "profile"),
    ("Password", "account_change_password"),
    ("E-mail", "account_email"),
    ("Two-step & passkeys", "mfa_index"),
    ("Sessions", "usersessions_list"),
    ("Notifications", "notifications"),
    ("Your data", "your_data"),
)
_CONNECTIONS = ("Connected accounts", "socialaccount_connections")


def settings_tabs() -> list[tuple[str, str]]:
    """Returns the tabs of this service: connections only where there is something to connect."""
    return [*_TABS, _CONNECTIONS] if settings.SOCIAL_PROVIDERS else [*_TABS]
