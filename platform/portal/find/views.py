"""Search over pages, keys, models and requests (Ctrl-K)."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.access import MemberRequest, member_page
from portal.find.queries import found_for


@require_safe
@member_page
def find(request: MemberRequest) -> HttpResponse:
    """Show matches for the dialog that js/find.js opens. Documentation has its own search."""
    query = request.GET.get("q", "").replace("\x00", "").strip()
    return render(
        request, "find/results.html", {"query": query, "groups": found_for(request, query)}
    )
