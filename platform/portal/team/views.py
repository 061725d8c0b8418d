"""Members, invitations and who did what."""

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from portal.access import TEAM_SESSION_KEY, MemberRequest, member_page


@require_safe
@member_page
def team(request: MemberRequest) -> HttpResponse:
    """To come."""
    return render(request, "to_come.html", {"title": "Team"})


@require_POST
@member_page
def switch_team(request: MemberRequest) -> HttpResponse:
    """Acts for another of the member's teams from now on."""
    slug = request.POST.get("team", "")
    if slug in {team.slug for team in request.teams}:
        request.session[TEAM_SESSION_KEY] = slug
    return redirect("dashboard")
