"""Whether the models answer, now and these thirty days."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """To come."""
    return render(request, "public_to_come.html", {"title": "Status"})
