"""The status page: states, incidents, maintenance and announcements; its feed and emails."""

from collections.abc import Callable
from smtplib import SMTPException

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.feedgenerator import Rss201rev2Feed
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from api import maintenance
from api.catalogue.snapshot import load_snapshot
from api.service import current_service
from portal.status import subscriptions
from portal.status.events import headline, latest_updates, published_events, shown_states
from portal.status.forms import SubscriptionForm
from portal.status.queries import incidents
from portal.ui.availability import BARS_WIDTH, DAYS, NOW_MINUTES, current_states, histories
from portal.ui.prices import sold_names
from portal.ui.rate_limits import seconds_to_wait, too_many

# How often an IP address may subscribe, and how many emails an address may get for it.
SUBSCRIBE_RATES = (("ip", "10/h"), ("post:email", "3/h"))


@require_safe
def status(request: HttpRequest) -> HttpResponse:
    """Show each model's state and history, and staff's posts."""
    now = timezone.now()
    snapshot = load_snapshot()
    models = [model.in_service(now) for model in snapshot.public_models()]
    events = published_events(now)
    mode = maintenance.current
    measured = current_states(models, now)
    is_closed = mode.is_on or not snapshot.service.is_open
    states = shown_states(models, measured, events, is_closed=is_closed)
    shown = histories(models, states, now)
    used = [model for model in shown if model.share]
    context = {
        "service": snapshot.service,
        "maintenance": mode if mode.is_on else None,
        "now": now,
        "days": DAYS,
        "minutes": NOW_MINUTES,
        "width": BARS_WIDTH,
        "used": used,
        "sold": sold_names(snapshot),
        "unused": [model for model in shown if not model.share],
        "headline": headline(states, events, has_requests=bool(used)),
        "events": events,
        "incidents": incidents(models, measured, now),
        "form": SubscriptionForm(),
    }
    return render(request, "status/status.html", context)


@require_safe
def feed(request: HttpRequest) -> HttpResponse:
    """Return the latest updates as RSS 2.0, in English: its reader's language is unknown."""
    with translation.override(settings.LANGUAGE_CODE):
        return HttpResponse(_feed().writeString("utf-8"), content_type="application/rss+xml")


def _feed() -> Rss201rev2Feed:
    base_url = settings.BASE_URL.rstrip("/")
    url = f"{base_url}{reverse('status')}"
    name = current_service().name
    made = Rss201rev2Feed(
        title=f"{name} status",
        link=url,
        description=f"Incidents, maintenance and announcements of {name}",
        language="en",
        feed_url=f"{base_url}{reverse('status_feed')}",
    )
    for update in latest_updates(timezone.now()):
        made.add_item(
            title=str(update.event),
            link=f"{url}#event-{update.event_id}",
            description=update.text,
            unique_id=f"{url}#update-{update.pk}",
            unique_id_is_permalink=False,
            pubdate=update.created_at,
        )
    return made


@require_POST
def subscribe(request: HttpRequest) -> HttpResponse:
    """Send a link that confirms the subscription. The response is the same for every address."""
    for key, rate in SUBSCRIBE_RATES:
        wait_seconds = seconds_to_wait(request, "status subscription", rate, key)
        if wait_seconds is not None:
            return too_many(request, wait_seconds)
    form = SubscriptionForm(request.POST)
    if not form.is_valid():
        return render(request, "status/subscribe.html", {"form": form}, status=422)
    try:
        subscriptions.send_confirmation(form.cleaned_data["email"])
    except (OSError, SMTPException):
        form.add_error("email", _("We can't send emails right now. Try again later."))
        return render(request, "status/subscribe.html", {"form": form}, status=503)
    return render(request, "status/subscribe.html", {"sent_to": form.cleaned_data["email"]})


@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """Ask for confirmation, since mail scanners open links; a POST subscribes."""
    email = subscriptions.confirmed_email(token)
    return _apply_link(request, "confirm", email, subscriptions.subscribe)


@csrf_exempt  # mail programs post it on their own (RFC 8058); the token is the proof
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Ask for confirmation; a POST, also by a mail program's button, ends the subscription."""
    email = subscriptions.subscribed_email(token)
    return _apply_link(request, "unsubscribe", email, subscriptions.unsubscribe)


def _apply_link(
    request: HttpRequest, action: str, email: str | None, apply: Callable[[str], None]
) -> HttpResponse:
    """Return the page of an emailed link, and apply the link on a POST.

    `email` is the address in its token, None if the token is invalid.
    """
    if email is None:
        return render(request, "status/subscription.html", {"problem": action}, status=404)
    is_done = request.method == "POST"
    if is_done:
        apply(email)
    context = {"email": email, "action": action, "is_done": is_done}
    return render(request, "status/subscription.html", context)
