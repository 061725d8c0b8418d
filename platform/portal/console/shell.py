"""What the admin's shell shows on every page: the service's name, icon and styles."""

from django.http import HttpRequest
from django.templatetags.static import static

from api.service import current_service


def site_title(request: HttpRequest) -> str:
    """Return the service's name."""
    return current_service().name


def site_icon(request: HttpRequest) -> str:
    """Return the icon's URL."""
    return static("icon.svg")


def tokens_css(request: HttpRequest) -> str:
    """Return the URL of the pages' colours and sizes."""
    return static("css/tokens.css")


def console_css(request: HttpRequest) -> str:
    """Return the URL of the console's styles."""
    return static("css/console.css")
