"""The member behind a request, and the team they act for."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlencode

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows
from allauth.core.exceptions import ImmediateHttpResponse, ReauthenticationRequired
from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone

from accounts.access import Actor, memberships_of
from accounts.models import ApiKey, Membership, Role, Team, User
from accounts.zones import zone_of

TEAM_SESSION_KEY = "team"
VIEW_AS_SESSION_KEY = "view_as"
VIEW_AS_SECONDS = 1800
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
INVITATION_SESSION_KEY = "invitation"
STAFF_INVITATION_SESSION_KEY = "staff_invitation"


class MemberRequest(HttpRequest):
    """A request of a signed-in member. `actor` is who they are in the team they chose."""

    user: User
    actor: Actor
    teams: list[Team]


View = Callable[..., HttpResponseBase]


def member_page(view: View) -> View:
    """Restrict the page to members of a team; set `actor` and `teams` on the request.

    Visitors who are signed out are asked to sign in; users without a team get a 403 page.
    """

    @login_required
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not recognise(request):
            return render(request, "no_team.html", status=403)
        if is_view_as(request) and not _is_shown_to_staff(request):
            raise PermissionDenied(
                "You're viewing the portal as a customer, so you can't change anything."
            )
        return view(request, *args, **kwargs)

    return guarded


def member_page_if(may: Callable[[Actor], bool]) -> Callable[[View], View]:
    """Restrict the page to members for whom `may` is true; others get 403."""

    def decorate(view: View) -> View:
        @member_page
        @wraps(view)
        def guarded(request: MemberRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not may(request.actor):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def require_recent_sign_in(request: HttpRequest) -> None:
    """Raise ReauthenticationRequired unless the user has authenticated recently.

    An open session is not enough to create a key, make someone an owner or export data. allauth
    asks for the password or the second factor and then continues with the request.
    """
    if not has_recent_sign_in(request):
        raise ReauthenticationRequired


def require_recent_sign_in_to_download(request: HttpRequest, page_url: str) -> None:
    """Raise ImmediateHttpResponse unless the user has authenticated recently.

    It asks as `require_recent_sign_in` does, and continues with `page_url`, which begins the
    download: a browser that is redirected to a file would go on showing the form.
    """
    if not has_recent_sign_in(request):
        methods = get_adapter().get_reauthentication_methods(request.user)
        query = urlencode({REDIRECT_FIELD_NAME: page_url})
        raise ImmediateHttpResponse(redirect(f"{methods[0]['url']}?{query}"))


def has_recent_sign_in(request: HttpRequest) -> bool:
    """Return whether the user has authenticated recently, or can't be asked to.

    Users without a flow only sign in through another service, which allauth can't ask again.
    """
    user = cast(User, request.user)
    records = get_authentication_records(request, user)
    shown_at = max((each["at"] for each in records), default=0)
    is_recent = time.time() - shown_at <= settings.ACCOUNT_REAUTHENTICATION_TIMEOUT
    return is_recent or not get_reauthentication_flows(user)


def actor_of(request: HttpRequest) -> Actor | None:
    """Return the member who reads a page that anyone may read; None: signed out, or in no team."""
    return cast(MemberRequest, request).actor if recognise(request) else None


def recognise(request: HttpRequest) -> bool:
    """Put the member on the request, in one query, and show times in their zone.

    False: they are signed out or in no team.
    """
    if hasattr(request, "actor"):
        return True
    if not request.user.is_authenticated:
        return False
    user = request.user
    viewed = _viewed_team(request)
    if viewed is not None:
        request.actor = Actor(team=viewed, user=user, role=Role.OWNER)  # type: ignore[attr-defined]
        request.teams = [viewed]  # type: ignore[attr-defined]
        return True
    memberships = memberships_of(user)
    if not memberships:
        return False
    chosen = _chosen(memberships, request.session.get(TEAM_SESSION_KEY))
    request.actor = Actor(team=chosen.team, user=user, role=chosen.role)  # type: ignore[attr-defined]
    request.teams = [each.team for each in memberships]  # type: ignore[attr-defined]
    if zone := zone_of(user.zone):
        timezone.activate(zone)  # until the end of the request (portal.ui.times)
    return True


def start_view_as(request: HttpRequest, team: Team) -> None:
    """Let a member of staff see the portal as the team's owner, for VIEW_AS_SECONDS.

    They change nothing: a page of a member answers other methods than GET with 403.
    """
    until = time.time() + VIEW_AS_SECONDS
    request.session[VIEW_AS_SESSION_KEY] = {"team": team.pk, "until": until}


def end_view_as(request: HttpRequest) -> Team | None:
    """End what `start_view_as` began. Return the team that was viewed."""
    viewed = request.session.pop(VIEW_AS_SESSION_KEY, None)
    return Team.objects.filter(pk=viewed["team"]).first() if viewed else None


def is_view_as(request: HttpRequest) -> bool:
    """Return whether a member of staff sees the page as a customer does."""
    return VIEW_AS_SESSION_KEY in request.session and _viewed_team(request) is not None


def _viewed_team(request: HttpRequest) -> Team | None:
    """Return the team whose portal a member of staff views; None once the view has ended."""
    viewed = request.session.get(VIEW_AS_SESSION_KEY)
    if viewed is None:
        return None
    if not hasattr(request, "viewed_team"):
        user = request.user
        may = user.is_staff and user.has_perm("accounts.view_as_customer")
        found = Team.objects.select_related("plan").filter(pk=viewed["team"])
        is_over = viewed["until"] < time.time()
        request.viewed_team = found.first() if may and not is_over else None  # type: ignore[attr-defined]
    return cast(Team | None, request.viewed_team)  # type: ignore[attr-defined]


def _is_shown_to_staff(request: HttpRequest) -> bool:
    """Return whether staff who view the portal as a customer may see the page.

    Personal pages are excluded: they would be the staff member's own.
    """
    is_personal = request.path.startswith("/settings") and not request.path.startswith(
        "/settings/apikeys"
    )
    return request.method in SAFE_METHODS and not is_personal


def may_chat(actor: Actor) -> bool:
    """Return whether the actor may call models from a page: if they may create inference keys."""
    return actor.may_create_keys(ApiKey.Scope.INFERENCE)


def without_chat_keys(keys: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
    """Return those of the keys that people and programs made."""
    return keys.filter(chat_key__isnull=True)


def only_chat_keys(keys: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
    """Return those of the keys that the site made for chats."""
    return keys.filter(chat_key__isnull=False)


def _chosen(memberships: list[Membership], slug: str | None) -> Membership:
    """Return the membership in the team that the session names, else the first."""
    return next((each for each in memberships if each.team.slug == slug), memberships[0])
