"""Readable names of browsers and systems: "Firefox on Linux"."""

import re

from django.utils.translation import gettext as _

# The first that is found counts: browsers also name those that they are like.
_BROWSERS = (
    ("Edge", r"Edg(e|A|iOS)?/"),
    ("Opera", r"OPR/|Opera"),
    ("Samsung Internet", r"SamsungBrowser/"),
    ("Firefox", r"Firefox/|FxiOS/"),
    ("Chrome", r"Chrome/|CriOS/|HeadlessChrome/"),
    ("Safari", r"Safari/"),
    ("curl", r"^curl/"),
)
_SYSTEMS = (
    ("iPhone", r"iPhone"),
    ("iPad", r"iPad"),
    ("Android", r"Android"),
    ("Windows", r"Windows"),
    ("macOS", r"Macintosh|Mac OS X"),
    ("ChromeOS", r"CrOS"),
    ("Linux", r"Linux|X11"),
)


def device_name(user_agent: str) -> str:
    """Return browser and system of a User-Agent header, as far as it tells."""
    browser = _first(_BROWSERS, user_agent) or _("Unknown browser")
    system = system_name(user_agent)
    if not system:
        return browser
    return _("{browser} on {system}").format(browser=browser, system=system)


def system_name(user_agent: str) -> str:
    """Return the system of a User-Agent header; empty if it doesn't tell."""
    return _first(_SYSTEMS, user_agent) or ""


def _first(names: tuple[tuple[str, str], ...], user_agent: str) -> str | None:
    return next((name for name, pattern in names if re.search(pattern, user_agent)), None)
