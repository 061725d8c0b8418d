"""The plan and its changes. Each is confirmed on a page that says what it costs, and when."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.core import signing
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.client_ip import client_ip
from billing.models import PlanOffer, Subscription
from billing.payments import invoices, plans, subscriptions
from billing.payments.customer_pages import CardDeclinedError, PaymentError, payment_errors
from billing.payments.plans import PlanError, Quote
from billing.payments.subscriptions import live_subscription
from portal.access import MemberRequest
from portal.billing.presenters import plan_of
from portal.billing.views.page import billing_page, payment_mode, show_page, to_stripe

# How long a quoted price stays valid.
QUOTE_SECONDS = 1800
_SALT = "portal.billing.plan"

_shows_or_does = require_http_methods(["GET", "HEAD", "POST"])


@_shows_or_does
@never_cache
@billing_page
def change_plan(request: MemberRequest, name: str) -> HttpResponse:
    """Say what an offer costs this team; sent, it subscribes to it or changes to it."""
    offer = get_object_or_404(PlanOffer.objects.select_related("plan"), plan__name=name)
    subscription = live_subscription(request.actor.team)
    if request.method == "POST":
        return _reported(
            request,
            lambda: (
                _changed(request, subscription, offer)
                if subscription
                else _to_checkout(request, offer)
            ),
        )
    if subscription is None:
        return _confirm(request, "subscribe", offer=offer)

    def ask() -> HttpResponse:
        quote = plans.quote(subscription, offer)
        action = "upgrade" if quote.is_upgrade else "downgrade"
        sealed = _sealed(request, offer, quote)
        return _confirm(request, action, offer=offer, quote=quote, sealed_quote=sealed)

    return _reported(request, ask)


@_shows_or_does
@never_cache
@billing_page
def cancel_plan(request: MemberRequest) -> HttpResponse:
    """Say what ends with the plan, and when; sent, it lets it end."""
    subscription = _current_or_404(request)
    if request.method != "POST":
        return _confirm(request, "cancel")

    def action() -> HttpResponse:
        row = plans.cancel(request.actor, subscription, ip_address=client_ip(request))
        title = row.price.plan.title
        if row.ended_at is None:
            text = f"{title} ends on {row.current_period_end:%-d %b %Y}. Nothing more is charged."
        else:
            text = f"{title} has ended. Nothing more is charged."
        messages.success(request, text)
        return _home()

    return _reported(request, action)


@_shows_or_does
@never_cache
@billing_page
def keep_plan(request: MemberRequest) -> HttpResponse:
    """Say when the plan is paid next; sent, it takes back an end or a cheaper plan."""
    subscription = _current_or_404(request)
    if request.method != "POST":
        return _confirm(request, "keep")

    def action() -> HttpResponse:
        row = plans.resume(request.actor, subscription, ip_address=client_ip(request))
        messages.success(request, f"Your team stays on {row.price.plan.title}.")
        return _home()

    return _reported(request, action)


@require_safe
@never_cache
@billing_page
def plan_begun(request: MemberRequest) -> HttpResponse:
    """Return from Stripe's checkout: fetch the subscription's status and report it."""
    row = Subscription.objects.filter(team=request.actor.team).order_by("-created_at").first()
    if row is None:
        return redirect("billing")
    try:
        with payment_errors():
            row = subscriptions.refresh(row)
            invoices.book_recent_invoices(row)
    except PaymentError:
        messages.info(request, "Stripe is not responding. Your plan begins once it does.")
        return _home()
    if row.status == row.Status.ACTIVE:
        messages.success(request, f"Your team is on {row.price.plan.title} now.")
    else:
        messages.info(request, "The payment is not complete yet. Your plan begins once it is.")
    return _home()


def _to_checkout(request: MemberRequest, offer: PlanOffer) -> HttpResponse:
    url = plans.open_checkout(
        request.actor.team,
        request.user,
        offer,
        success_url=request.build_absolute_uri(reverse("plan_begun")),
        cancel_url=request.build_absolute_uri(f"{reverse('billing')}#plan"),
        ip_address=client_ip(request),
    )
    return to_stripe(url)


def _changed(request: MemberRequest, subscription: Subscription, offer: PlanOffer) -> HttpResponse:
    terms = _unsealed(request, offer)
    if terms is None:
        raise PlanError("This page was too old. Look at what the change costs now, and confirm it.")
    row = plans.change(
        request.actor,
        subscription,
        offer,
        at=datetime.fromtimestamp(terms["at"], UTC),
        attempt=terms["attempt"],
        ip_address=client_ip(request),
    )
    if row.next_price is not None:
        text = f"{offer.plan.title} begins on {row.current_period_end:%-d %b %Y}."
    else:
        # Its webhook would book it in a moment; who comes back sees the credits at once.
        invoices.book_recent_invoices(row)
        text = f"Your team is on {offer.plan.title} now."
    messages.success(request, text)
    return _home()


def _reported(request: MemberRequest, action: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the action's response, or the billing page with the reason it failed."""
    try:
        with payment_errors():
            return action()
    except PlanError as error:
        return show_page(request, status=409, plan_error=str(error))
    except CardDeclinedError as error:
        text = (
            f"Your card was not charged, and your plan is as it was. The bank said: {error.reason}"
            " Change the card under Payment method, then try again."
        )
        return show_page(request, status=402, plan_error=text)
    except PaymentError as error:
        return show_page(request, status=503, plan_error=str(error))


def _confirm(request: MemberRequest, action: str, **facts: Any) -> HttpResponse:
    context = {"action": action, "plan": plan_of(request.actor), **payment_mode(), **facts}
    return render(request, "billing/plan_confirm.html", context)


def _current_or_404(request: MemberRequest) -> Subscription:
    subscription = live_subscription(request.actor.team)
    if subscription is None:
        raise Http404
    return subscription


def _home() -> HttpResponse:
    return redirect(f"{reverse('billing')}#plan")


def _sealed(request: MemberRequest, offer: PlanOffer, quote: Quote) -> str:
    """Return the quote's terms, signed, for the page's form to carry."""
    terms = {
        "team": request.actor.team.pk,
        "plan": offer.plan_id,
        "price": offer.price_cents,
        "at": int(quote.at.timestamp()),
        "attempt": str(uuid.uuid4()),
    }
    return signing.dumps(terms, salt=_SALT)


def _unsealed(request: MemberRequest, offer: PlanOffer) -> dict[str, Any] | None:
    """Return the terms the page quoted; None if expired, for another price, or forged."""
    try:
        terms: dict[str, Any] = signing.loads(
            request.POST.get("quote", ""), salt=_SALT, max_age=QUOTE_SECONDS
        )
    except signing.BadSignature:
        return None
    expected = (request.actor.team.pk, offer.plan_id, offer.price_cents)
    return terms if (terms["team"], terms["plan"], terms["price"]) == expected else None
