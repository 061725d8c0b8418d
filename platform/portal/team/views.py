"""A team: its members and their roles, its invitations, its name, its audit log."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import invitations, members
from accounts.client_ip import client_ip
from accounts.errors import (
    AccountsError,
    InvitationClosedError,
    InvitationMismatchError,
    NotAllowedError,
)
from accounts.models import Invitation, Membership, Role
from api.account_opening import open_team
from billing.usage import budgets
from portal.access import (
    INVITATION_SESSION_KEY,
    TEAM_SESSION_KEY,
    MemberRequest,
    member_page,
    member_page_if,
    require_recent_sign_in,
)
from portal.emails.kinds import send_invitation
from portal.team.forms import (
    ROLE_MEANINGS,
    BudgetForm,
    InvitationForm,
    RoleForm,
    TeamForm,
    read_audit_filter,
)
from portal.team.presenters import audit_context, role_meanings, team_context
from portal.team.queries import MemberLine, audit_page, find_invitation, member_line
from portal.ui.rate_limits import is_over_limit


@require_safe
@member_page
def team(request: MemberRequest) -> HttpResponse:
    """List the members, and the open invitations for those who may manage them."""
    return team_page(request, InvitationForm(request.actor))


@require_http_methods(["GET", "HEAD", "POST"])
@member_page_if(lambda actor: actor.may_manage_members)
def member(request: MemberRequest, member_id: int) -> HttpResponse:
    """Show a member; POST gives them another role."""
    line = _line(request, member_id)
    posted = request.POST if request.method == "POST" else None
    form = RoleForm(request.actor, posted, initial={"role": line.membership.role})
    if posted is not None:
        _require_right(request, line)
        if posted.get("role") == Role.OWNER:
            require_recent_sign_in(request)
        if form.is_valid() and _change_role(request, line.membership, form):
            return redirect("team")
    context = {
        "line": line,
        "form": form,
        "role_meanings": role_meanings(request.actor),
    }
    return render(request, "team/member.html", context, status=422 if form.errors else 200)


@require_POST
@member_page_if(lambda actor: actor.may_manage_members)
def remove_member(request: MemberRequest, member_id: int) -> HttpResponse:
    """Remove a member from the team."""
    line = _line(request, member_id)
    _require_right(request, line)
    try:
        members.remove_member(request.actor, line.membership, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except AccountsError as error:
        messages.error(request, str(error))
        return redirect("member", member_id)
    text = _("{email} was removed from the team.").format(email=line.membership.user.email)
    messages.success(request, text)
    return redirect("dashboard" if line.is_self else "team")


@require_POST
@member_page
def leave_team(request: MemberRequest) -> HttpResponse:
    """Remove the member who asks from the team."""
    try:
        members.leave_team(request.actor, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except AccountsError as error:
        messages.error(request, str(error))
        return redirect("team_settings")
    request.session.pop(TEAM_SESSION_KEY, None)
    text = _("You have left {team}.").format(team=request.actor.team.name)
    messages.success(request, text)
    return redirect("dashboard")


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def team_settings(request: MemberRequest) -> HttpResponse:
    """Show the team's name and how to leave; POST gives the team another name."""
    actor = request.actor
    posted = request.POST if request.method == "POST" else None
    if posted is not None and not actor.may_rename_team:
        raise PermissionDenied
    form = TeamForm(posted, initial={"name": actor.team.name})
    if posted is not None and form.is_valid():
        members.rename_team(actor, form.cleaned_data["name"], ip_address=client_ip(request))
        messages.success(request, _("Team renamed."))
        return redirect("team_settings")
    return render(request, "team/settings.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page_if(lambda actor: actor.may_manage_members)
def team_budgets(request: MemberRequest) -> HttpResponse:
    """List the team's budgets; POST makes or changes one."""
    actor = request.actor
    form = BudgetForm(actor, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        budgets.change_budget(actor, **form.rule, ip_address=client_ip(request))
        messages.success(request, _("Budget saved. It applies from the next request."))
        return redirect("team_budgets")
    context = {"form": form, "budgets": budgets.budgets_of(actor.team, timezone.now())}
    return render(request, "team/budgets.html", context, status=422 if form.errors else 200)


@require_POST
@member_page_if(lambda actor: actor.may_manage_members)
def remove_budget(request: MemberRequest, rule_id: int) -> HttpResponse:
    """Remove a budget."""
    rules = request.actor.team.budget_rules.select_related("key", "member")
    rule = get_object_or_404(rules, pk=rule_id)
    budgets.remove_budget(request.actor, rule, ip_address=client_ip(request))
    messages.success(request, _("Budget removed."))
    return redirect("team_budgets")


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def new_team(request: MemberRequest) -> HttpResponse:
    """Create another team, and act for it from then on."""
    form = TeamForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        name = form.cleaned_data["name"]
        made = open_team(request.user, name, ip_address=client_ip(request))
        request.session[TEAM_SESSION_KEY] = made.slug
        text = _("{team} is ready. Invite your teammates.").format(team=made.name)
        messages.success(request, text)
        return redirect("team")
    return render(request, "team/new.html", {"form": form}, status=422 if form.errors else 200)


@require_POST
@member_page
def switch_team(request: MemberRequest) -> HttpResponse:
    """Act for another of the member's teams from now on."""
    slug = request.POST.get("team", "")
    if slug in {team.slug for team in request.teams}:
        request.session[TEAM_SESSION_KEY] = slug
    return redirect("dashboard")


@require_safe
@member_page_if(lambda actor: actor.may_see_audit_log)
def audit_log(request: MemberRequest) -> HttpResponse:
    """Show a page of the team's audit log."""
    chosen = read_audit_filter(request.GET)
    context = audit_context(audit_page(request.actor.team, chosen), chosen)
    return render(request, "team/audit.html", context)


def _line(request: MemberRequest, member_id: int) -> MemberLine:
    line = member_line(request.actor, member_id)
    if line is None:
        raise Http404
    return line


def _require_right(request: MemberRequest, line: MemberLine) -> None:
    if not line.may_change:
        raise PermissionDenied


def _change_role(request: MemberRequest, membership: Membership, form: RoleForm) -> bool:
    """Give the member the form's role; where that fails, add the form's error and return False."""
    role = form.cleaned_data["role"]
    try:
        members.change_role(request.actor, membership, role, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except AccountsError as error:
        form.add_error("role", str(error))
        return False
    text = _("{email} is now {role} here.")
    name = members.role_name(role)
    messages.success(request, text.format(email=membership.user.email, role=name))
    return True


def team_page(request: MemberRequest, form: InvitationForm, status: int = 200) -> HttpResponse:
    """Return the team's page with the form of an invitation."""
    return render(request, "team/team.html", team_context(request.actor, form), status=status)


# Invitations go to people who did not ask for them.
EMAILS_PER_USER = "60/h"


@require_POST
@member_page_if(lambda actor: actor.may_manage_members)
def invite(request: MemberRequest) -> HttpResponse:
    """Invite an email address."""
    form = InvitationForm(request.actor, request.POST)
    if not form.is_valid():
        return team_page(request, form, status=422)
    if form.cleaned_data["role"] == Role.OWNER:
        require_recent_sign_in(request)
    if is_over_limit(request, "invitations", EMAILS_PER_USER):
        form.add_error("email", _("You've sent too many invitations. Try again in an hour."))
        return team_page(request, form, status=429)
    fields = form.cleaned_data
    try:
        made, token = invitations.invite(
            request.actor, fields["email"], fields["role"], ip_address=client_ip(request)
        )
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except AccountsError as error:
        form.add_error("email", str(error))
        return team_page(request, form, status=422)
    _send(request, made, token)
    return redirect("team")


@require_POST
@member_page_if(lambda actor: actor.may_manage_members)
def resend(request: MemberRequest, invitation_id: int) -> HttpResponse:
    """Send an invitation again, with a new link and its whole lifetime."""
    found = _find(request, invitation_id)
    if is_over_limit(request, "invitations", EMAILS_PER_USER):
        messages.error(request, _("You've sent too many invitations. Try again in an hour."))
        return redirect("team")
    try:
        renewed, token = invitations.renew(request.actor, found)
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except InvitationClosedError as error:
        messages.error(request, str(error))
    else:
        _send(request, renewed, token)
    return redirect("team")


@require_POST
@member_page_if(lambda actor: actor.may_manage_members)
def withdraw(request: MemberRequest, invitation_id: int) -> HttpResponse:
    """End an invitation."""
    found = _find(request, invitation_id)
    try:
        invitations.withdraw(request.actor, found, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except InvitationClosedError as error:
        messages.error(request, str(error))
    else:
        text = _("The invitation of {email} is withdrawn.").format(email=found.email)
        messages.success(request, text)
    return redirect("team")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Show an invitation to whoever has its link; POST accepts it."""
    found = invitations.find(token)
    if found is None or not invitations.is_open(found):
        closed = {"invitation": found}
        return render(request, "team/invitation_closed.html", closed, status=410)
    context: dict[str, object] = {"invitation": found, "here": request.path}
    if not request.user.is_authenticated:
        # Lets them sign up even if sign-up is closed.
        request.session[INVITATION_SESSION_KEY] = found.pk
        return render(request, "team/invitation.html", context)
    user = request.user
    if not invitations.is_for(found, user):
        return render(request, "team/invitation_mismatch.html", context, status=403)
    if request.method != "POST":
        return render(request, "team/invitation.html", context)
    try:
        member = invitations.accept(found, user, ip_address=client_ip(request))
    except (InvitationClosedError, InvitationMismatchError):
        return redirect(request.path)  # which says what it is now
    request.session[TEAM_SESSION_KEY] = member.team.slug
    messages.success(request, _("You joined {team}.").format(team=member.team.name))
    return redirect("team")


def _find(request: MemberRequest, invitation_id: int) -> Invitation:
    found = find_invitation(request.actor.team, invitation_id)
    if found is None:
        raise Http404
    return found


def _send(request: MemberRequest, made: Invitation, token: str) -> None:
    try:
        send_invitation(made, token, ROLE_MEANINGS[Role(made.role)])
    except OSError:
        text = _("{email} was invited, but we couldn't send the email. Resend it later.")
        messages.error(request, text.format(email=made.email))
    else:
        text = _("The invitation is on its way to {email}.")
        messages.success(request, text.format(email=made.email))
