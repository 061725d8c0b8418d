"""What a draft looks like: pages and emails, as only their author sees them.

A preview is the real page, rendered with the draft in place of the published brand for one request.
Nothing of it is stored, and no other request knows of it.
"""

from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from portal.brand.current import DOCUMENTS, LoadedBrand
from portal.brand.texts import Block
from portal.console.access import StaffRequest
from portal.design.views import design
from portal.emails.sending import write
from portal.emails.texts import EMAILS
from portal.home import views as home_views

_PAGES = {
    "home": "Home page",
    "components": "Components of the portal",
    "terms": "Terms of Service",
    "privacy": "Privacy Policy",
    "imprint": "Imprint",
}
THEMES = ("light", "dark")
# Pages load from this host alone; links open beside the preview, and forms go nowhere.
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self';"
    " connect-src 'self'; font-src 'self'; img-src 'self' data:; script-src 'self';"
    " style-src 'self'"
)
_EMAIL_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"


def choices(brand: LoadedBrand) -> list[tuple[str, str]]:
    """Return the pages that can be shown, with their titles."""
    pages = [each for each in _PAGES.items() if each[0] != "imprint" or brand.has_imprint]
    return [*pages, *((f"email-{name}", f"Email: {each.title}") for name, each in EMAILS.items())]


def show(request: StaffRequest, page: str) -> HttpResponse:
    """Return the page with the draft that `request.brand_preview` holds. Raise Http404."""
    if page.startswith("email-"):
        return _email(request, page.removeprefix("email-"))
    if page not in _PAGES:
        raise Http404
    answer = _page(request, page)
    answer["Content-Security-Policy"] = _POLICY
    return answer


def _page(request: HttpRequest, page: str) -> HttpResponse:
    if page == "components":
        return design(request)
    request.user = AnonymousUser()  # these pages are shown as to visitors
    if page == "home":
        return home_views.home(request)
    brand: LoadedBrand = request.brand_preview.brand  # type: ignore[attr-defined]
    if page in DOCUMENTS and (url := brand.document_url(page)):
        blocks = [Block("paragraph", [f"Links to {url}"])]
        return render(request, "legal/written.html", {"title": _PAGES[page], "blocks": blocks})
    return home_views.legal(request, page)


def _email(request: HttpRequest, name: str) -> HttpResponse:
    if name not in EMAILS:
        raise Http404
    preview = request.brand_preview  # type: ignore[attr-defined]
    email = write(name, "customer@example.com", EMAILS[name].context, preview)
    html = str(email.alternatives[0][0])
    if preview.theme in THEMES:  # what a mail program decides, the preview's reader chooses
        is_dark = "all" if preview.theme == "dark" else "not all"
        html = html.replace("@media (prefers-color-scheme: dark)", f"@media {is_dark}")
    answer = HttpResponse(html)
    answer["Content-Security-Policy"] = _EMAIL_POLICY
    return answer
