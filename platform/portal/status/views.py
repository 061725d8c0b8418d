"""Whether the models answer, now and these thirty days."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from api.catalogue.snapshot import load_snapshot
from portal.status.queries import DAYS, NOW_MINUTES, current_states, histories, incidents


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """Show each model's state and history, as counted from real requests."""
    now = timezone.now()
    snapshot = load_snapshot()
    models = snapshot.public_models()
    states = current_states(models, now)
    shown = histories(models, states, now)
    context = {
        "service": snapshot.service,
        "now": now,
        "days": DAYS,
        "minutes": NOW_MINUTES,
        "width": 10 * DAYS - 3,
        "models": models,
        "used": [model for model in shown if model.share],
        "unused": [model for model in shown if not model.share],
        "affected": [model for model in shown if model.state != "operational"],
        "incidents": incidents(models, states, now),
    }
    return render(request, "status/status.html", context)
