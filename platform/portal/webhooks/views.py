"""A team's webhooks: endpoints, their secrets, and the log of deliveries."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.client_ip import client_ip
from accounts.models import WebhookDelivery, WebhookEndpoint
from api.webhooks import endpoints
from api.webhooks.endpoints import WebhookError
from portal.access import MemberRequest, member_page_if, require_recent_sign_in
from portal.ui.paging import read_id
from portal.ui.rate_limits import is_over_limit
from portal.webhooks.forms import EndpointForm
from portal.webhooks.presenters import DeliveryPresenter, EndpointPresenter, deliveries_context
from portal.webhooks.queries import deliveries_of, delivery_page, endpoints_of

# Each makes us send a request to a customer's URL.
SENDS = "60/h"

_shows_or_does = require_http_methods(["GET", "HEAD", "POST"])
_manager_page = member_page_if(lambda actor: actor.may_manage_webhooks)


@require_safe
@_manager_page
def webhooks(request: MemberRequest) -> HttpResponse:
    """List the team's endpoints."""
    found = [EndpointPresenter(each) for each in endpoints_of(request.actor.team)]
    may_add = len(found) < endpoints.MAX_ENDPOINTS
    return render(request, "webhooks/list.html", {"endpoints": found, "may_add": may_add})


@_shows_or_does
@never_cache
@_manager_page
def new_webhook(request: MemberRequest) -> HttpResponse:
    """Add an endpoint and show its secret, this once."""
    require_recent_sign_in(request)
    form = EndpointForm(_sent(request))
    if form.is_valid():
        try:
            endpoint, secret = endpoints.create(
                request.actor, **form.values, ip_address=client_ip(request)
            )
        except WebhookError as error:
            form.add_error("url", str(error))
        else:
            return _show_once(request, endpoint, secret)
    return _form_page(request, form)


@require_safe
@_manager_page
def webhook(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Show an endpoint and the log of its deliveries."""
    return _endpoint_page(request, _endpoint(request, endpoint_id))


@_shows_or_does
@_manager_page
def edit_webhook(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Change an endpoint."""
    endpoint = _endpoint(request, endpoint_id)
    form = EndpointForm(_sent(request), endpoint)
    if form.is_valid():
        try:
            endpoints.update(request.actor, endpoint, **form.values, ip_address=client_ip(request))
        except WebhookError as error:
            form.add_error("url", str(error))
        else:
            messages.success(request, _("Changes saved."))
            return redirect("webhook", endpoint_id)
    return _form_page(request, form, endpoint)


@require_POST
@never_cache
@_manager_page
def rotate_webhook(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Replace an endpoint's secret and show the new one, this once."""
    endpoint = _endpoint(request, endpoint_id)
    require_recent_sign_in(request)
    secret = endpoints.rotate_secret(request.actor, endpoint, ip_address=client_ip(request))
    return _show_once(request, endpoint, secret, is_rotation=True)


@require_POST
@_manager_page
def test_webhook(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Send an endpoint a test event."""
    endpoint = _endpoint(request, endpoint_id)
    done = _("The test event is on its way. Its delivery is listed below.")
    return _send(request, endpoint, lambda: endpoints.send_test(endpoint), done)


@require_POST
@_manager_page
def disable_webhook(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Send an endpoint nothing for now."""
    done = _("Endpoint disabled.")
    return _switch(request, endpoint_id, endpoints.disable, done)


@require_POST
@_manager_page
def enable_webhook(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Send an endpoint events again."""
    done = _("Endpoint enabled. Replay the events it missed.")
    return _switch(request, endpoint_id, endpoints.enable, done)


@require_POST
@_manager_page
def delete_webhook(request: MemberRequest, endpoint_id: int) -> HttpResponse:
    """Delete an endpoint with its log."""
    endpoint = _endpoint(request, endpoint_id)
    endpoints.delete(request.actor, endpoint, ip_address=client_ip(request))
    messages.success(request, _("Endpoint deleted."))
    return redirect("webhooks")


@require_safe
@_manager_page
def webhook_delivery(request: MemberRequest, delivery_id: int) -> HttpResponse:
    """Show a delivery: the request, and the answer to its last attempt."""
    shown = DeliveryPresenter(_delivery(request, delivery_id))
    return render(request, "webhooks/delivery.html", {"shown": shown})


@require_POST
@_manager_page
def replay_delivery(request: MemberRequest, delivery_id: int) -> HttpResponse:
    """Send an event again."""
    delivery = _delivery(request, delivery_id)
    done = _("The event is on its way again.")
    return _send(request, delivery.endpoint, lambda: endpoints.replay(delivery), done)


def _switch(
    request: MemberRequest, endpoint_id: int, switch: Callable[..., None], done: str
) -> HttpResponse:
    """Disable or enable an endpoint, and lead back to its page."""
    switch(request.actor, _endpoint(request, endpoint_id), ip_address=client_ip(request))
    messages.success(request, done)
    return redirect("webhook", endpoint_id)


def _send(
    request: MemberRequest, endpoint: WebhookEndpoint, send: Callable[[], None], done: str
) -> HttpResponse:
    """Send something to an endpoint, and lead back to its page, which says what is wrong."""
    if is_over_limit(request, "webhook sends", SENDS):
        refusal = _("You've sent too many events. Try again in an hour.")
        return _endpoint_page(request, endpoint, refusal, status=429)
    try:
        send()
    except WebhookError as error:
        return _endpoint_page(request, endpoint, str(error), status=409)
    messages.success(request, done)
    return redirect("webhook", endpoint.pk)


def _sent(request: MemberRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _endpoint(request: MemberRequest, endpoint_id: int) -> WebhookEndpoint:
    """Return the team's endpoint of this id. Raise Http404 for any other."""
    found: WebhookEndpoint = get_object_or_404(endpoints_of(request.actor.team), pk=endpoint_id)
    return found


def _delivery(request: MemberRequest, delivery_id: int) -> WebhookDelivery:
    """Return the team's delivery of this id. Raise Http404 for any other."""
    found: WebhookDelivery = get_object_or_404(deliveries_of(request.actor.team), pk=delivery_id)
    return found


def _endpoint_page(
    request: MemberRequest, endpoint: WebhookEndpoint, refusal: str = "", status: int = 200
) -> HttpResponse:
    before, after = read_id(request.GET.get("before", "")), read_id(request.GET.get("after", ""))
    context = {
        "own": EndpointPresenter(endpoint),
        "refusal": refusal,
        **deliveries_context(delivery_page(endpoint, before=before, after=after)),
    }
    return render(request, "webhooks/endpoint.html", context, status=status)


def _form_page(
    request: MemberRequest, form: EndpointForm, endpoint: WebhookEndpoint | None = None
) -> HttpResponse:
    context = {"form": form, "endpoint": endpoint}
    return render(request, "webhooks/form.html", context, status=400 if form.errors else 200)


def _show_once(
    request: MemberRequest, endpoint: WebhookEndpoint, secret: str, *, is_rotation: bool = False
) -> HttpResponse:
    """Return the page of a new secret: the form's own answer, as a redirect would keep it."""
    context = {"endpoint": endpoint, "secret": secret, "is_rotation": is_rotation}
    return render(request, "webhooks/shown_once.html", context)
