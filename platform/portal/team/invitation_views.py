"""Inviting to a team, and accepting."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST
from django_ratelimit.core import is_ratelimited

from accounts import invitations
from accounts.client_ip import client_ip
from accounts.errors import (
    AccountsError,
    InvitationClosedError,
    InvitationMismatchError,
    NotAllowedError,
)
from accounts.models import Invitation
from portal.access import TEAM_SESSION_KEY, MemberRequest, member_page_if
from portal.team.forms import InvitationForm
from portal.team.letters import send_invitation
from portal.team.page import team_page

# Letters go to people who did not ask for them.
LETTERS_PER_USER = "60/h"


@require_POST
@member_page_if(lambda actor: actor.may_manage_members)
def invite(request: MemberRequest) -> HttpResponse:
    """Invites an e-mail address."""
    form = InvitationForm(request.actor, request.POST)
    if not form.is_valid():
        return team_page(request, form, status=422)
    if _has_sent_enough(request):
        form.add_error("email", "You have sent many invitations. Try again in an hour.")
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
    """Sends a new letter, which lasts a week again."""
    found = _find(request, invitation_id)
    if _has_sent_enough(request):
        messages.error(request, "You have sent many invitations. Try again in an hour.")
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
    """Ends an invitation."""
    found = _find(request, invitation_id)
    try:
        invitations.withdraw(request.actor, found, ip_address=client_ip(request))
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from None
    except InvitationClosedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"The invitation of {found.email} is withdrawn.")
    return redirect("team")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """Shows an invitation to who has its letter; POST accepts it."""
    found = invitations.find(token)
    if found is None or not invitations.is_open(found):
        closed = {"invitation": found}
        return render(request, "team/invitation_closed.html", closed, status=410)
    context: dict[str, object] = {"invitation": found, "here": request.path}
    if not request.user.is_authenticated:
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
    messages.success(request, f"You are in {member.team.name} now.")
    return redirect("team")


def _find(request: MemberRequest, invitation_id: int) -> Invitation:
    found = Invitation.objects.filter(team=request.actor.team, pk=invitation_id).first()
    if found is None:
        raise Http404
    return found


def _send(request: MemberRequest, made: Invitation, token: str) -> None:
    try:
        send_invitation(made, token)
    except OSError:
        text = f"{made.email} is invited, but the letter could not be sent. Send it again later."
        messages.error(request, text)
    else:
        messages.success(request, f"The invitation is on its way to {made.email}.")


def _has_sent_enough(request: MemberRequest) -> bool:
    has_sent_enough = is_ratelimited(  # type: ignore[no-untyped-call]
        request, group="invitations", key="user", rate=LETTERS_PER_USER, increment=True
    )
    return bool(has_sent_enough)
