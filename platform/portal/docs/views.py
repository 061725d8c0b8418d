"""How to use the API."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """To come."""
    return render(request, "public_to_come.html", {"title": "Docs"})


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """To come."""
    return render(request, "public_to_come.html", {"title": "Models"})
