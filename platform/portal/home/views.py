"""The front page: what this service is."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from api import catalogue
from portal.prices import price_list


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Its address, its models, their prices."""
    snapshot = catalogue.load_synchronously()
    context = {
        "service": snapshot.service,
        "base_url": request.build_absolute_uri("/v1"),
        "models": price_list(snapshot),
    }
    return render(request, "home/home.html", context)
