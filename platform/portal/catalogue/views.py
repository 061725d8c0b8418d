"""The models: a list to sort, filter and search, and a page each."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_safe

from portal.access import actor_of
from portal.catalogue.listing import CAPABILITIES, KINDS, ORDERS, choice_of, rows_of
from portal.catalogue.presenters import model_page
from portal.ui.availability import BARS_WIDTH, DAYS
from portal.ui.model_snippets import model_snippets
from portal.ui.prices import price_list, snapshot_for


@require_safe
def models(request: HttpRequest) -> HttpResponse:
    """List the models that the address asks for, with prices and measured figures."""
    listed = price_list(snapshot_for(request))
    choice = choice_of(request.GET)
    kinds = {model.kind for model in listed}
    context = {
        "total": len(listed),
        "rows": rows_of(listed, choice),
        "choice": choice,
        "kinds": {name: gettext(title) for name, title in KINDS.items() if name in kinds},
        "capabilities": {name: gettext(title) for name, title in CAPABILITIES.items()},
        "orders": {name: gettext(order.title) for name, order in ORDERS.items()},
        "days": DAYS,
        "canonical_url": request.build_absolute_uri(reverse("models")),
    }
    return render(request, "catalogue/list.html", context)


@require_safe
def model(request: HttpRequest, model_name: str) -> HttpResponse:
    """Show a model; an alias leads to its model. Raise Http404 for one that isn't sold."""
    snapshot = snapshot_for(request)
    found = snapshot.find(model_name)
    listed = {each.name: each for each in price_list(snapshot)}
    if found is None or found.name not in listed:
        raise Http404("No such model.")
    if found.name != model_name:
        return redirect("model", found.name, permanent=False)
    context = {
        "page": model_page(listed[found.name], timezone.now()),
        "days": DAYS,
        "width": BARS_WIDTH,
        "snippets": model_snippets(
            found,
            base_url=request.build_absolute_uri("/v1"),
            api_key=f"{snapshot.service.key_prefix}YOUR_KEY",
        ),
        "actor": actor_of(request),
        "canonical_url": request.build_absolute_uri(reverse("model", args=[found.name])),
    }
    return render(request, "catalogue/model.html", context)
