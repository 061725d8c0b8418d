"""The admin's shell, in which the console's pages are: its service's name, icon and styles."""

from collections.abc import Mapping
from typing import cast

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.templatetags.static import static

from portal.ui.shell import Shell


def site_title(request: HttpRequest) -> str:
    """Return the service's name."""
    return Shell(request).service.name


def site_icon(request: HttpRequest) -> str:
    """Return the icon's URL."""
    return Shell(request).brand.icon_url


def tokens_css(request: HttpRequest) -> str:
    """Return the URL of the pages' colors and sizes."""
    return static("css/tokens.css")


def brand_css(request: HttpRequest) -> str:
    """Return the URL of the brand's colors; of the tokens again where those that ship are used."""
    return Shell(request).brand.css_url or tokens_css(request)


def console_css(request: HttpRequest) -> str:
    """Return the URL of the console's styles."""
    return static("css/console.css")


def page(request: HttpRequest, template: str, context: Mapping[str, object]) -> HttpResponse:
    """Return a page of the console in the admin's shell."""
    shell = cast(dict[str, object], admin.site.each_context(request))
    return TemplateResponse(request, template, {**shell, **context})
