"""Conversations with the models."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from portal.access import MemberRequest, member_page


@require_safe
@member_page
def chat(request: MemberRequest) -> HttpResponse:
    """To come."""
    return render(request, "to_come.html", {"title": "Chat"})
