"""Every endpoint of the API, as a form that the page makes from the OpenAPI document."""

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from api.catalogue.snapshot import load_snapshot
from portal.access import MemberRequest, may_chat, member_page
from portal.playground.presenters import page_data, page_texts


@require_safe
@member_page
def playground(request: MemberRequest) -> HttpResponse:
    """Show the page; a role that may not call models reads why."""
    if not may_chat(request.actor):
        return render(request, "chat/not_for_role.html", {"title": _("Playground")}, status=403)
    context = {"data": page_data(load_snapshot()), "texts": page_texts()}
    return render(request, "playground/playground.html", context)
