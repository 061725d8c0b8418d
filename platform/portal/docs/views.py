"""How to use the API: pages whose tables and examples are read from what runs."""

from itertools import count
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from api.catalogue.snapshot import load_snapshot
from api.operations.async_chat import RESULT_HOURS
from api.operations.images import MAX_IMAGES
from api.operations.videos import DEFAULT_SECONDS, MAX_SECONDS
from portal.access import may_chat
from portal.docs import reference
from portal.docs.operation import OperationText
from portal.docs.pages import FIRST, Page, find_page, groups, neighbours
from portal.docs.reader import Reader
from portal.docs.search import LONGEST_QUERY, index_of, search
from portal.docs.sections import sections
from portal.ui.prices import snapshot_for

QUICK_RESULTS = 8


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the first page."""
    return _show(request, FIRST)


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Show a page of the documentation, or 404."""
    found = find_page(slug)
    if found is None:
        raise Http404
    if found is FIRST:
        return redirect("docs", permanent=True)
    return _show(request, found)


@require_safe
def search_docs(request: HttpRequest) -> HttpResponse:
    """Find sections by words; for htmx, only the list of what was found."""
    query = request.GET.get("q", "").replace("\0", "")[:LONGEST_QUERY].strip()
    reader = _reader_of(request)
    # The index is for all readers: list prices.
    nobody = Reader(load_snapshot(), settings.BASE_URL)
    index = index_of(lambda page: _article(page, nobody), reader.snapshot.version)
    results = search(query, index)
    is_quick = bool(request.headers.get("HX-Request"))
    context = {
        "query": query,
        "results": results[:QUICK_RESULTS] if is_quick else results,
        "is_quick": is_quick,
        "groups": groups(),
    }
    answer = render(request, "docs/results.html" if is_quick else "docs/search.html", context)
    answer["Vary"] = "HX-Request, Cookie"
    return answer


def _show(request: HttpRequest, page: Page) -> HttpResponse:
    reader = _reader_of(request)
    article = _article(page, reader)
    before, after = neighbours(page)
    context = {
        "page": page,
        "article": article,
        "contents": [section for section in sections(article) if section.level == 2],
        "groups": groups(),
        "before": before,
        "after": after,
        "reader": reader,
        "may_run": reader.actor is not None and may_chat(reader.actor),
    }
    return render(request, "docs/page.html", context)


def _reader_of(request: HttpRequest) -> Reader:
    origin = request.build_absolute_uri("/").rstrip("/")
    return Reader(snapshot_for(request), origin, request)


def _article(page: Page, reader: Reader) -> str:
    """Return a page's text as HTML."""
    context: dict[str, Any] = {
        "page": page,
        "reader": reader,
        "service": reader.snapshot.service,
        "base_url": reader.base_url,
        "origin": reader.origin,
        "key": reader.key,
        "names": reader.names,
        "parameters": reference.parameters(page.operation),
        "numbers": count(1),
        "limits": {
            "keepalive_seconds": settings.KEEPALIVE_SECONDS,
            "video_minutes": settings.VIDEO_MAX_SECONDS / 60,
            "async_chat_minutes": settings.ASYNC_CHAT_MAX_SECONDS / 60,
            "async_chat_hours": RESULT_HOURS,
            "idempotency_hours": settings.IDEMPOTENCY_SECONDS / 3600,
            "idempotency_mib": settings.IDEMPOTENCY_MAX_BYTES // 1024**2,
            "body_mib": settings.MAX_BODY_BYTES // 1024**2,
            "pictures": MAX_IMAGES,
            "video_seconds": MAX_SECONDS,
            "default_video_seconds": DEFAULT_SECONDS,
        },
    }
    if page.operation is not None:
        context["operation"] = OperationText(page.operation, reader)
    if page.slug == "errors":
        context["errors"] = reference.error_rows()
    if page.slug in {"endpoints", "reasoning", "errors"}:
        context["surfaces"] = reference.surfaces()
    return render_to_string(page.templates, context)
