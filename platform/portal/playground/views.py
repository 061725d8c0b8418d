"""Every endpoint of the API, as a form that the page makes from the OpenAPI document."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from api.catalogue.snapshot import load_snapshot
from portal.access import MemberRequest, may_chat, member_page
from portal.ui.prices import price_list
from portal.ui.shell import REQUEST_URL


@require_safe
@member_page
def playground(request: MemberRequest) -> HttpResponse:
    """Show the page; a role that may not call models reads why."""
    if not may_chat(request.actor):
        return render(request, "chat/not_for_role.html", {"title": "Playground"}, status=403)
    models = price_list(load_snapshot())
    data = {
        "models": [
            {
                "name": model.name,
                "title": model.label,
                "kind": model.kind,
                "inputs": model.entry.input_modalities,
            }
            for model in models
        ],
        "request_url": REQUEST_URL,
    }
    return render(request, "playground/playground.html", {"data": data})
