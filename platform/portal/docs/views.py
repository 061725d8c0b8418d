"""How to use the API: pages whose tables and examples are read from what runs."""

from itertools import count
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import AccountsError
from accounts.formats import whole_text
from accounts.models import ApiKey
from api.catalogue.snapshot import load_snapshot
from api.mcp.tools import MOST_BUDGET_NANOS, MOST_DAYS
from api.operations.async_chat import RESULT_HOURS
from api.operations.images import MAX_IMAGES
from api.operations.videos import DEFAULT_SECONDS, MAX_SECONDS
from api.webhooks.delivery import MAX_ATTEMPTS
from portal.access import (
    MemberRequest,
    may_chat,
    member_page,
    member_page_if,
    require_recent_sign_in,
)
from portal.docs import queries, reference
from portal.docs.agents import Agent, AgentText, setup_of
from portal.docs.markdown import to_markdown
from portal.docs.operation import OperationText
from portal.docs.pages import FIRST, Page, find_page, groups, neighbours, pages
from portal.docs.reader import Reader
from portal.docs.search import LONGEST_QUERY, index_of, search
from portal.docs.sections import sections
from portal.ui.key_forms import MadeBeforeError, make_once, new_token
from portal.ui.prices import snapshot_for

QUICK_RESULTS = 8


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Show the first page."""
    return _show(request, FIRST, _reader_of(request))


@require_safe
def page(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Show a page of the documentation, or 404."""
    found = find_page(slug)
    if found is None:
        raise Http404
    if found is FIRST:
        return redirect("docs", permanent=True)
    return _show(request, found, _reader_of(request))


@require_safe
def markdown(request: HttpRequest, slug: str) -> HttpResponse:
    """Return a page as Markdown, or 404."""
    found = find_page(slug)
    if found is None:
        raise Http404
    reader = _reader_of(request)
    text = to_markdown(_article(found, reader), request.build_absolute_uri(found.url))
    head = f"# {found.title}\n\n{found.summary}\n\n"
    answer = HttpResponse(head + text, content_type="text/markdown; charset=utf-8")
    answer["Vary"] = "Cookie, Accept-Language"
    return answer


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """List the documentation for language models (llmstxt.org), each page as Markdown."""
    reader = _reader_of(request)
    context = {"groups": groups(), "service": reader.snapshot.service, "origin": reader.origin}
    text = render_to_string("docs/llms.txt", context)
    answer = HttpResponse(text, content_type="text/plain; charset=utf-8")
    answer["Vary"] = "Cookie, Accept-Language"
    return answer


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


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@member_page_if(lambda actor: actor.may_create_keys())
def create_agent_key(request: MemberRequest, agent_slug: str) -> HttpResponseBase:
    """Create a key for an agent, and show the agent's page with it, this once."""
    found = find_page(f"agents/{agent_slug}")
    if found is None or found.agent is None:
        raise Http404
    if request.method != "POST":
        return redirect(found.url)
    require_recent_sign_in(request)
    agent, reader = found.agent, _reader_of(request)
    prefix = reader.snapshot.service.key_prefix
    try:
        key, reader.fresh_key = make_once(
            request,
            request.POST.get("token") or new_token(),
            lambda: queries.create_limited_key(request, agent, prefix),
        )
    except MadeBeforeError as error:
        made = request.actor.visible_keys().filter(pk=error.key_id).first()
        return render(request, "keys/made_before.html", {"key": made}, status=409)
    except AccountsError as error:
        return _show(request, found, reader, problem=str(error), status=409)
    return _show(request, found, reader, key=key)


@require_safe
@never_cache
@member_page
def first_call(request: MemberRequest, key_id: int) -> HttpResponse:
    """Answer whether a key has been used, as JSON: pages ask until it has."""
    return JsonResponse(queries.first_call_of(_key_of(request, key_id)))


def _key_of(request: MemberRequest, key_id: int) -> ApiKey:
    """Return the team's key of this id. Raise Http404 for any other."""
    found: ApiKey = get_object_or_404(request.actor.visible_keys(), pk=key_id)
    return found


def _show(
    request: HttpRequest,
    page: Page,
    reader: Reader,
    *,
    key: ApiKey | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    """Return a page; an agent's with the `key` that it is tested with, or why there is none."""
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
    if page.agent is not None:
        context |= _agent_context(request, page.agent, reader, key) | {"problem": problem}
    return render(request, "docs/page.html", context, status=status)


def _agent_context(
    request: HttpRequest, agent: Agent, reader: Reader, key: ApiKey | None
) -> dict[str, Any]:
    """Return what an agent's page shows of its key: the form for it, or its first call."""
    asked = request.GET.get("key", "")
    if key is None and reader.actor is not None and asked.isascii() and asked.isdigit():
        key = reader.actor.visible_keys().filter(pk=asked[:18]).first()
    return {
        "agent": AgentText(agent, reader),
        "agent_slug": agent.slug,
        "agent_key": key,
        "call": queries.first_call_of(key) if key is not None else None,
        "key_name": queries.key_name(agent, request),
        "budget_nanos": queries.BUDGET_DAY_NANOS,
        "expiry_days": queries.EXPIRY_DAYS,
        "may_create": reader.actor is not None and reader.actor.may_create_keys(),
        "token": new_token(),
    }


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
            "webhook_retries": MAX_ATTEMPTS - 1,
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
    if page.agent is not None:
        context["agent"] = AgentText(page.agent, reader)
    if page.slug == "mcp":
        context["mcp_name"] = setup_of(reader).provider
        context["most_budget"] = whole_text(MOST_BUDGET_NANOS // 10**9)
        context["most_days"] = MOST_DAYS
    if page.slug == "coding-agents":
        context["agent_pages"] = [each for each in pages() if each.agent is not None]
    if page.slug == "errors":
        context["errors"] = reference.error_rows()
    if page.slug in {"endpoints", "reasoning", "errors"}:
        context["surfaces"] = reference.surfaces()
    return render_to_string(page.templates, context)
