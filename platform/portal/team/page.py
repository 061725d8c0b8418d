"""The page of a team's members, which a refused invitation shows again with its error."""

from django.http import HttpResponse
from django.shortcuts import render

from accounts.invitations import is_open, open_invitations
from portal.access import MemberRequest
from portal.team.forms import ROLE_MEANINGS, InvitationForm
from portal.team.roster import roster_of


def team_page(request: MemberRequest, form: InvitationForm, status: int = 200) -> HttpResponse:
    """Returns the page: members to everybody in the team, invitations to who may make them."""
    actor = request.actor
    context: dict[str, object] = {"roster": roster_of(actor)}
    if actor.may_manage_members:
        context |= {
            "form": form,
            "role_meanings": [(role, ROLE_MEANINGS[role]) for role in actor.grantable_roles],
            "invitations": [
                (each, is_open(each), actor.may_handle(each))
                for each in open_invitations(actor.team)
            ],
        }
    return render(request, "team/team.html", context, status=status)
