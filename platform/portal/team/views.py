"""The team: its members, its name, its audit log."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import members
from accounts.client_ip import client_ip
from accounts.errors import AccountsError, NotAllowedError
from accounts.models import Membership
from api.customers import open_team
from portal.access import TEAM_SESSION_KEY, MemberRequest, member_page, member_page_if
from portal.team.audit_log import TITLES, Filter, page_of
from portal.team.forms import ROLE_MEANINGS, InvitationForm, RoleForm, TeamForm
from portal.team.page import team_page
from portal.team.roster import Line, line_of

LARGEST_ID = 2**63 - 1


@require_safe
@member_page
def team(request: MemberRequest) -> HttpResponse:
    """Lists the members, and the open invitations to who may handle them."""
    return team_page(request, InvitationForm(request.actor))


@require_http_methods(["GET", "HEAD", "POST"])
@member_page_if(lambda actor: actor.may_manage_members)
def member(request: MemberRequest, member_id: int) -> HttpResponse:
    """Shows a member; POST gives them another role."""
    line = _line(request, member_id)
    posted = request.POST if request.method == "POST" else None
    form = RoleForm(request.actor, posted, initial={"role": line.membership.role})
    if posted is not None:
        _require_right(request, line)
        if form.is_valid() and _change_role(request, line.membership, form):
            return redirect("team")
    context = {
        "line": line,
        "form": form,
        "role_meanings": [(role, ROLE_MEANINGS[role]) for role in request.actor.grantable_roles],
    }
    return render(request, "team/member.html", context, status=422 if form.errors else 200)


@require_POST
@member_page_if(lambda actor: actor.may_manage_members)
def remove_member(request: MemberRequest, member_id: int) -> HttpResponse:
    """Takes a member out of the team."""
    line = _line(request, member_id)
    _require_right(request, line)
    try:
        members.remove_member(request.actor, line.membership, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except AccountsError as error:
        messages.error(request, str(error))
        return redirect("member", member_id)
    messages.success(request, f"{line.membership.user.email} is no longer in the team.")
    return redirect("dashboard" if line.is_self else "team")


@require_POST
@member_page
def leave_team(request: MemberRequest) -> HttpResponse:
    """Takes the member themselves out of the team."""
    try:
        members.leave_team(request.actor, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except AccountsError as error:
        messages.error(request, str(error))
        return redirect("team_settings")
    request.session.pop(TEAM_SESSION_KEY, None)
    messages.success(request, f"You have left {request.actor.team.name}.")
    return redirect("dashboard")


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def team_settings(request: MemberRequest) -> HttpResponse:
    """Shows the team's name and how to leave; POST gives the team another name."""
    actor = request.actor
    posted = request.POST if request.method == "POST" else None
    if posted is not None and not actor.may_rename_team:
        raise PermissionDenied
    form = TeamForm(posted, initial={"name": actor.team.name})
    if posted is not None and form.is_valid():
        members.rename_team(actor, form.cleaned_data["name"], ip_address=client_ip(request))
        messages.success(request, "The team has its new name.")
        return redirect("team_settings")
    return render(request, "team/settings.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def new_team(request: MemberRequest) -> HttpResponse:
    """Makes a further team, and acts for it from then on."""
    form = TeamForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        made = open_team(request.user, name, ip_address=client_ip(request))
        request.session[TEAM_SESSION_KEY] = made.slug
        messages.success(request, f"{made.name} is ready. Invite who works with you.")
        return redirect("team")
    return render(request, "team/new.html", {"form": form}, status=422 if form.errors else 200)


@require_POST
@member_page
def switch_team(request: MemberRequest) -> HttpResponse:
    """Acts for another of the member's teams from now on."""
    slug = request.POST.get("team", "")
    if slug in {team.slug for team in request.teams}:
        request.session[TEAM_SESSION_KEY] = slug
    return redirect("dashboard")


@require_safe
@member_page_if(lambda actor: actor.may_see_audit_log)
def audit_log(request: MemberRequest) -> HttpResponse:
    """Shows who did what in the team."""
    asked = request.GET
    chosen = Filter(
        action=asked.get("action", "").replace("\0", ""),
        actor=asked.get("actor", "").replace("\0", "").strip(),
        before=_id(asked.get("before", "")),
        after=_id(asked.get("after", "")),
    )
    context = {
        "page": page_of(request.actor.team, chosen),
        "chosen": chosen,
        "actions": TITLES.items(),
    }
    return render(request, "team/audit.html", context)


def _id(text: str) -> int | None:
    """Returns the id that a URL names; None for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= 19
    return min(int(text), LARGEST_ID) if is_number else None


def _line(request: MemberRequest, member_id: int) -> Line:
    line = line_of(request.actor, member_id)
    if line is None:
        raise Http404
    return line


def _require_right(request: MemberRequest, line: Line) -> None:
    if not line.may_change:
        raise PermissionDenied


def _change_role(request: MemberRequest, membership: Membership, form: RoleForm) -> bool:
    """Gives the member the form's role; False with the form's error where that can't be."""
    role = form.cleaned_data["role"]
    try:
        members.change_role(request.actor, membership, role, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except AccountsError as error:
        form.add_error("role", str(error))
        return False
    messages.success(request, f"{membership.user.email} is now {role} here.")
    return True
