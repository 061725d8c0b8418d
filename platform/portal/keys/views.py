"""A team's API keys: list, create, change, rotate, freeze, revoke."""

from collections.abc import Callable
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import key_actions
from accounts.api_keys import KeyRules
from accounts.client_ip import client_ip
from accounts.errors import AccountsError
from accounts.models import ApiKey
from api import key_guard
from api.catalogue.snapshot import Snapshot, load_snapshot
from billing.usage.key_spending import use_by_day
from portal.access import (
    MemberRequest,
    has_recent_sign_in,
    member_page,
    member_page_if,
    require_recent_sign_in,
)
from portal.keys.forms import GuardForm, KeyForm, NewKeyForm, RotationForm
from portal.keys.presenters import KeyPresenter, daily_cost_of, key_presenter
from portal.keys.queries import ORDERS, choice_of, listing_of, visible_keys
from portal.ui.key_forms import MadeBeforeError, make_once, new_token
from portal.ui.snippets import Snippet, chat_snippets, management_snippets

_shows_or_does = require_http_methods(["GET", "HEAD", "POST"])


@require_safe
@member_page
def apikeys(request: MemberRequest) -> HttpResponse:
    """List the team's keys: the current ones, or all. A dialog creates one."""
    listing = listing_of(request.actor, choice_of(request.GET), page=request.GET.get("page", ""))
    context: dict[str, Any] = {"listing": listing, "orders": ORDERS}
    # Without a recent sign-in the form's own page asks for it first.
    if request.actor.may_create_keys() and has_recent_sign_in(request):
        models = load_snapshot().public_models()
        context["form"] = NewKeyForm(None, actor=request.actor, models=models)
        context["token"] = new_token()
    return render(request, "keys/list.html", context)


@_shows_or_does
@never_cache  # going back shows a form that can be sent, not the one that was
@member_page_if(lambda actor: actor.may_create_keys())
def new_key(request: MemberRequest) -> HttpResponse:
    """Make a key and show it, this once, as the form's own answer."""
    require_recent_sign_in(request)
    snapshot = load_snapshot()
    form = NewKeyForm(_sent(request), actor=request.actor, models=snapshot.public_models())
    if not form.is_valid():
        context = {"form": form, "token": new_token()}
        return render(request, "keys/new.html", context, status=400 if form.is_bound else 200)
    if not request.actor.may_create_keys(form.rules["scope"]):
        raise PermissionDenied
    try:
        key, plaintext = make_once(
            request,
            request.POST.get("token") or new_token(),
            lambda: key_actions.create_key(
                request.actor,
                prefix=snapshot.service.key_prefix,
                ip_address=client_ip(request),
                **form.rules,
            ),
        )
    except MadeBeforeError as error:
        made = request.actor.visible_keys().filter(pk=error.key_id).first()
        return render(request, "keys/made_before.html", {"key": made}, status=409)
    except AccountsError as error:
        form.add_error(None, str(error))
        context = {"form": form, "token": new_token()}
        return render(request, "keys/new.html", context, status=409)
    return show_once(request, key, plaintext, snapshot)


@require_safe
@member_page
def key(request: MemberRequest, key_id: int) -> HttpResponse:
    """Show a key: its rules, its state, what it spends."""
    return _key_page(request, _key(request, key_id))


@_shows_or_does
@member_page
def edit_key(request: MemberRequest, key_id: int) -> HttpResponse:
    """Change a key's rules."""
    own = _managed_key(request, key_id)
    models = load_snapshot().public_models()
    form = KeyForm(_sent(request), actor=request.actor, models=models, key=own.key)
    if not own.is_active:
        return _key_page(request, own, _("Revoked, expired and frozen keys can't be edited."))
    if not form.is_valid():
        context = {"form": form, "own": own}
        return render(request, "keys/edit.html", context, status=400 if form.is_bound else 200)
    try:
        key_actions.update_key(
            request.actor, own.key, cast(KeyRules, form.rules), ip_address=client_ip(request)
        )
    except AccountsError as error:
        return _key_page(request, _key(request, key_id), str(error))
    messages.success(request, _("Changes saved. They apply from the next request."))
    return redirect("key", key_id)


@_shows_or_does
@never_cache
@member_page
def rotate_key(request: MemberRequest, key_id: int) -> HttpResponse:
    """Make a key's successor and show it, this once."""
    own = _managed_key(request, key_id)
    require_recent_sign_in(request)
    form = RotationForm(_sent(request))
    if not own.may_rotate:
        return _key_page(request, own, _why_not_rotated(own))
    if not form.is_valid():
        context = {"form": form, "own": own}
        return render(request, "keys/rotate.html", context, status=400 if form.is_bound else 200)
    grace_seconds: int = form.cleaned_data["grace_seconds"]
    try:
        successor, plaintext = key_actions.rotate_key(
            request.actor, own.key, grace_seconds, ip_address=client_ip(request)
        )
    except AccountsError as error:
        return _key_page(request, _key(request, key_id), str(error))
    return show_once(
        request,
        successor,
        plaintext,
        load_snapshot(),
        old=own.key,
        grace_seconds=grace_seconds,
    )


@_shows_or_does
@member_page
def revoke_key(request: MemberRequest, key_id: int) -> HttpResponse:
    """Ask whether to end a key, and end it."""
    own = _managed_key(request, key_id)
    if request.method != "POST":
        return render(request, "keys/revoke.html", {"own": own})
    if not own.is_revoked:
        key_actions.revoke_key(request.actor, own.key, ip_address=client_ip(request))
        messages.success(request, _("Key revoked. It no longer works."))
    return redirect("key", key_id)


@require_POST
@member_page
def guard_key(request: MemberRequest, key_id: int) -> HttpResponse:
    """Choose what to do about unusual use of a key."""
    own = _managed_key(request, key_id)
    form = GuardForm(request.POST, key_guard.guard_of(own.key))
    if not form.is_valid():
        return _key_page(request, own, _("Choose one of the options."), status=400)
    chosen = form.cleaned_data
    key_guard.set_guard(request.actor, own.key, **chosen, ip_address=client_ip(request))
    messages.success(request, _("Changes saved."))
    return redirect("key", key_id)


@require_POST
@member_page
def freeze_key(request: MemberRequest, key_id: int) -> HttpResponse:
    """Refuse a key until it is unfrozen."""
    done = _("Key frozen. Requests with it get a 403 until you unfreeze it.")
    return _change(request, key_id, key_actions.freeze_key, done)


@require_POST
@member_page
def unfreeze_key(request: MemberRequest, key_id: int) -> HttpResponse:
    """Accept a frozen key again."""
    return _change(request, key_id, key_actions.unfreeze_key, _("Key unfrozen. It works again."))


def _change(
    request: MemberRequest, key_id: int, action: Callable[..., object], done: str
) -> HttpResponse:
    """Take an action on a key, and lead back to its page with `done`, or with what is wrong."""
    own = _managed_key(request, key_id)
    try:
        action(request.actor, own.key, ip_address=client_ip(request))
    except AccountsError as error:
        return _key_page(request, _key(request, key_id), str(error))
    messages.success(request, done)
    return redirect("key", key_id)


def _sent(request: MemberRequest) -> QueryDict | None:
    """Return what a form was sent with; None where it is only asked for."""
    return request.POST if request.method == "POST" else None


def _key(request: MemberRequest, key_id: int) -> KeyPresenter:
    """Return the team's key of this id. Raise Http404 for any other."""
    found: ApiKey = get_object_or_404(visible_keys(request.actor), pk=key_id)
    return key_presenter(found, request.actor)


def _managed_key(request: MemberRequest, key_id: int) -> KeyPresenter:
    """Return a key that the member may change. Raise Http404 and PermissionDenied."""
    own = _key(request, key_id)
    if not own.may_manage:
        raise PermissionDenied
    return own


def _key_page(
    request: MemberRequest, own: KeyPresenter, refusal: str = "", status: int = 409
) -> HttpResponse:
    """Return the key's page; with a refusal it says why nothing was done, with that status."""
    incident = key_guard.frozen_by(own.key)
    context: dict[str, Any] = {
        "own": own,
        "daily_cost": daily_cost_of(use_by_day(own.key, own.now)),
        "refusal": refusal,
        "incident": incident,
        "network": key_guard.network_text(incident) if incident else "",
    }
    if own.may_manage and not (own.is_management or own.is_revoked):
        context["guard_form"] = GuardForm(None, key_guard.guard_of(own.key))
    return render(request, "keys/key.html", context, status=status if refusal else 200)


def _why_not_rotated(own: KeyPresenter) -> str:
    if own.successor is not None:
        return _("This key was already rotated. If you didn't copy the new key, rotate that one.")
    return _("Revoked, expired and frozen keys can't be rotated. Unfreeze it, or create a new one.")


def show_once(
    request: HttpRequest,
    key: ApiKey,
    plaintext: str,
    snapshot: Snapshot,
    *,
    old: ApiKey | None = None,
    grace_seconds: int = 0,
) -> HttpResponse:
    """Return the page of a new key, with code that uses it. `old` is the key that it replaces,
    which works on for `grace_seconds`.

    It is the form's own answer, of a view that is never cached: a redirect would have to keep the
    key somewhere.
    """
    context = {
        "key": key,
        "plaintext": plaintext,
        "old": old,
        "grace_seconds": grace_seconds,
        "snippets": _snippets(request, key, plaintext, snapshot),
    }
    return render(request, "keys/shown_once.html", context)


def _snippets(
    request: HttpRequest, key: ApiKey, plaintext: str, snapshot: Snapshot
) -> list[Snippet]:
    """Return code for the key with the reader's own address; none where it may call no model."""
    if key.scope == ApiKey.Scope.MANAGEMENT:
        base_url = request.build_absolute_uri(reverse("manage-keys")).removesuffix("/keys")
        return management_snippets(base_url=base_url, api_key=plaintext)
    allowed = key.allowed_models
    models = [model.name for model in snapshot.public_models(kind="chat")]
    callable_models = [name for name in models if not allowed or name in allowed]
    if not callable_models:
        return []
    base_url = request.build_absolute_uri("/v1")
    return chat_snippets(base_url=base_url, model=callable_models[0], api_key=plaintext)
