"""The front page: what this service is. And the small files that browsers and robots ask for."""

from datetime import timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe
from django.views.generic import RedirectView

from api.catalogue.snapshot import Snapshot, load_snapshot
from api.service import current_service
from billing.receipts import keys
from portal.brand.current import cache, terms_version
from portal.brand.files import file_response
from portal.ui.model_snippets import model_snippets
from portal.ui.prices import PricedModel, price_list
from portal.ui.shell import Shell
from portal.ui.snippets import Snippet
from portal.ui.worked_cost import WorkedCost, example_model, worked_cost

FEATURED = {"chat": 6, "image": 2, "video": 2}
SECURITY_TXT_DAYS = 180
# Navigation and the rows of lists: links whose pages change nothing when they are loaded.
_PREFETCHED = [
    *(".top nav a.wide", ".rail-links a", ".docs-nav a", ".docs-turn a", ".onward a"),
    *(".catalogue-table th a", ".requests th a", "a[rel=prev]", "a[rel=next]"),
]
_LEGAL_TITLES = {
    "terms": _("Terms of Service"),
    "privacy": _("Privacy Policy"),
    "imprint": _("Imprint"),
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Its address, some of its models with their prices, and what a request costs."""
    snapshot = load_snapshot()
    models = price_list(snapshot)
    base_url = request.build_absolute_uri("/v1")
    context = {
        "base_url": base_url,
        "canonical_url": request.build_absolute_uri(reverse("home")),
        "snippets": _first_request(base_url, f"{snapshot.service.key_prefix}YOUR_KEY", models),
        "chat_models": _featured(models, "chat"),
        "media_models": _featured(models, "image") + _featured(models, "video"),
        "model_count": len(models),
        "example": _example(snapshot),
    }
    return render(request, "home/home.html", context)


@require_safe
def legal(request: HttpRequest, document: str) -> HttpResponse:
    """Show a legal document, the brand's or the one that ships, or redirect to the operator's."""
    brand = Shell(request).brand
    if url := brand.document_url(document):
        return redirect(url)
    blocks = brand.document(document)
    if document == "imprint" and not blocks:
        raise Http404
    context = {
        "title": _LEGAL_TITLES[document],
        "blocks": blocks,
        "version": terms_version(brand) if document != "imprint" else "",
        "session_days": settings.SESSION_COOKIE_AGE // 86400,
    }
    return render(request, f"legal/{'written' if blocks else document}.html", context)


@require_safe
def brand_file(request: HttpRequest, digest: str, kind: str) -> HttpResponseBase:
    """Return the published brand's logo or colors.

    The address names one version, so browsers keep it; one of another version leads to the current.
    """
    brand = cache.held(digest) or cache.brand_of(current_service())
    if brand.digest != digest:
        url = {"logo": brand.icon_url, "colors": brand.css_url}.get(kind)
        if not url:
            raise Http404
        return redirect(url)
    answer = file_response(brand, kind)
    answer["Cache-Control"] = "public, max-age=31536000, immutable"
    return get_conditional_response(request, etag=answer["ETag"], response=answer) or answer


@require_safe
def sitemap_xml(request: HttpRequest) -> HttpResponse:
    """List the pages that anyone may read, for search engines (sitemaps.org)."""
    names = ["home", "docs", "models", "status", "terms", "privacy"]
    names += ["imprint"] if Shell(request).brand.has_imprint else []
    paths = [reverse(name) for name in names]
    paths += [reverse("model", args=[model.name]) for model in price_list(load_snapshot())]
    context = {"urls": [request.build_absolute_uri(path) for path in paths]}
    return render(request, "home/sitemap.xml", context, content_type="application/xml")


@require_safe
def robots_txt(request: HttpRequest) -> HttpResponse:
    """Keep robots off the pages that are no reading."""
    lines = ["User-agent: *", "Disallow: /accounts/", "Disallow: /admin/", "Disallow: /api/"]
    lines.append(f"Sitemap: {request.build_absolute_uri(reverse('sitemap'))}")
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain")


@require_safe
def prefetch_rules(request: HttpRequest) -> HttpResponse:
    """Name the links whose pages browsers prefetch on hover (WICG, Speculation Rules).

    Browsers that save data ignore them.
    """
    links = {"selector_matches": ", ".join(_PREFETCHED)}
    rules = {"prefetch": [{"source": "document", "where": links, "eagerness": "moderate"}]}
    answer = JsonResponse(rules, content_type="application/speculationrules+json")
    answer["Cache-Control"] = "public, max-age=86400"
    return answer


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """Say whom to tell of a weakness (RFC 9116), where the operator has named an address."""
    contact = current_service().contact_email
    if not contact:
        raise Http404
    expires = timezone.now() + timedelta(days=SECURITY_TXT_DAYS)
    lines = [
        f"Contact: mailto:{contact}",
        f"Expires: {expires:%Y-%m-%dT00:00:00Z}",
        f"Canonical: {request.build_absolute_uri(reverse('security_txt'))}",
        "Preferred-Languages: en",
    ]
    return HttpResponse("\n".join([*lines, ""]), content_type="text/plain; charset=utf-8")


@require_safe
def jwks(request: HttpRequest) -> HttpResponse:
    """Publish the keys that verify receipts and day roots, to pages of other origins too."""
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": f"public, max-age={keys.JWKS_SECONDS}",
    }
    return JsonResponse(keys.jwks(), headers=headers, content_type="application/jwk-set+json")


class Favicon(RedirectView):
    """Leads browsers that ask for the old name to the icon."""

    http_method_names = ["get", "head"]

    def get_redirect_url(self, *args: object, **kwargs: object) -> str:
        """Return the icon's address."""
        return cache.brand_of(current_service()).icon_url


def _featured(models: list[PricedModel], kind: str) -> list[PricedModel]:
    return [model for model in models if model.kind == kind][: FEATURED[kind]]


def _first_request(base_url: str, key: str, models: list[PricedModel]) -> list[Snippet]:
    """Return a request to the first model, rather one of text; none where there is no model."""
    for kind in ("chat", "image", "video"):
        for model in models:
            if model.kind == kind:
                return model_snippets(model.entry, base_url=base_url, api_key=key)
    return []


def _example(snapshot: Snapshot) -> WorkedCost | None:
    """Return a worked cost at current prices, or None if every model is free."""
    now = timezone.now()
    model = example_model(snapshot.public_models(), now)
    prices = model.price_at(now) if model is not None else None
    return worked_cost(model, prices) if model is not None and prices is not None else None
