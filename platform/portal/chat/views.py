"""Conversations with the models: the page, its key, and what it stores if the member chose so.

The page itself calls the API (static/js/chat); nothing here asks a model.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from api.catalogue.snapshot import load_snapshot
from billing.models import CreditAccount
from portal.access import MemberRequest, View, may_chat, member_page, member_page_if
from portal.chat import forms, queries
from portal.chat.presenters import conversation_line, conversation_whole, page_data, page_texts
from portal.chat.queries import CHAT_KEY_SECONDS, TooManyKeysError, renew_chat_key
from portal.models import Conversation
from portal.ui.money import cents, dollars


def _json_view(view: View) -> View:
    """Let members who may chat ask, and answer their mistakes as `{"error": "what to do"}`.

    A page goes on acting for the team that it was made for, or not at all.
    """

    @never_cache
    @member_page_if(may_chat)
    @wraps(view)
    def guarded(request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.headers.get("x-team") != request.actor.team.slug:
            return _refusal(_("You switched teams. Reload the page to continue."), 409)
        try:
            return view(request, *args, **kwargs)
        except forms.PayloadError as error:
            return _refusal(str(error), error.status)
        except queries.FullError as error:
            return _refusal(str(error), 409)

    return guarded


def _writes(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Refuse to store anything new for a member who did not choose it."""

    @wraps(view)
    def guarded(request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "POST" and not queries.stores_conversations(request.user):
            return _refusal(_("You chose not to store conversations."), 409)
        return view(request, *args, **kwargs)

    return guarded


@require_safe
@member_page
def chat(request: MemberRequest, conversation_id: UUID | None = None) -> HttpResponse:
    """Show the page, or an explanation to a role that may not call models."""
    if not may_chat(request.actor):
        return render(request, "chat/not_for_role.html", {"title": _("Chat")}, status=403)
    if conversation_id is not None:
        _find(request, conversation_id)
    snapshot = load_snapshot().for_team(request.actor.team.pk)
    data = page_data(request.actor, snapshot, conversation_id)
    return render(request, "chat/chat.html", {"data": data, "texts": page_texts()})


@require_POST
@_json_view
def key(request: MemberRequest) -> HttpResponse:
    """Return a key for the page's next calls, and end the session's previous one."""
    try:
        plaintext = renew_chat_key(request.actor, request.session)
    except TooManyKeysError:
        text = _("You opened this page too many times. Wait a few minutes.")
        return _refusal(text, 429)
    return JsonResponse({"key": plaintext, "expires_in_seconds": CHAT_KEY_SECONDS})


@require_safe
@_json_view
def charge(request: MemberRequest, request_id: UUID) -> HttpResponse:
    """Return a request's cost, once it is settled, and the team's balance."""
    costs = queries.costs_of(request.actor, [request_id])
    account = CreditAccount.objects.filter(team=request.actor.team).first()
    answer = {
        "cost": dollars(costs.get(request_id)) or None,
        "available": cents(account.available_nanos if account else 0),
    }
    return JsonResponse(answer)


@require_POST
@_json_view
def storage(request: MemberRequest) -> HttpResponse:
    """Keep whether conversations are stored from now on."""
    choice = forms.read(request, forms.Choice)
    queries.choose_storage(request.user, stores=choice.stores)
    return JsonResponse({"stores": choice.stores})


@require_http_methods(["GET", "POST", "DELETE"])
@_json_view
@_writes
def conversation_list(request: MemberRequest) -> HttpResponse:
    """GET lists or searches (`?q=`), POST stores a conversation, DELETE deletes all of them."""
    if request.method == "POST":
        new = forms.read(request, forms.NewConversation)
        made = queries.create(request.actor, new)
        return JsonResponse(conversation_line(made), status=201)
    if request.method == "DELETE":
        queries.of_member(request.actor).delete()
        return HttpResponse(status=204)
    found = queries.listed(request.actor, request.GET.get("q", "")[:200])
    return JsonResponse({"data": [conversation_line(each) for each in found]})


@require_http_methods(["GET", "PATCH", "DELETE"])
@_json_view
@_writes
def conversation(request: MemberRequest, conversation_id: UUID) -> HttpResponse:
    """GET shows a conversation, PATCH changes its title, model or settings, DELETE deletes it."""
    found = _find(request, conversation_id)
    if request.method == "DELETE":
        found.delete()
        return HttpResponse(status=204)
    if request.method == "PATCH":
        queries.change(found, forms.read(request, forms.Changes))
        return JsonResponse(conversation_line(found))
    return JsonResponse(conversation_whole(request.actor, found))


@require_POST
@_json_view
@_writes
def message_list(request: MemberRequest, conversation_id: UUID) -> HttpResponse:
    """Put messages after those of a conversation that are kept."""
    found = _find(request, conversation_id)
    turns = forms.read(request, forms.NewTurns)
    return JsonResponse({"messages": queries.extend(found, turns)})


def _find(request: MemberRequest, conversation_id: UUID) -> Conversation:
    """Return the member's conversation. Raise Http404 for any other."""
    found = queries.of_member(request.actor).filter(pk=conversation_id).first()
    if found is None:
        raise Http404
    return found


def _refusal(text: str, status: int) -> HttpResponse:
    return JsonResponse({"error": text}, status=status)
