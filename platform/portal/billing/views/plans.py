"""The plan and its changes. Each is confirmed on a page that says what it costs, and when."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from accounts.client_ip import client_ip
from billing.models import PlanOffer, Subscription
from billing.payments import plans
from billing.payments.customer_pages import CardDeclinedError, PaymentError, payment_errors
from billing.payments.plans import PlanError
from billing.payments.subscriptions import live_subscription
from portal.access import MemberRequest
from portal.billing.forms import read_quote, sign_quote
from portal.billing.presenters.orders import payment_mode
from portal.billing.presenters.plans import cancelled_text, changed_text, plan_of
from portal.billing.views.page import billing_page, show_page, to_stripe

_shows_or_does = require_http_methods(["GET", "HEAD", "POST"])


@_shows_or_does
@never_cache
@billing_page
def change_plan(request: MemberRequest, name: str) -> HttpResponse:
    """Show what an offer costs this team; POST subscribes to it or changes to it."""
    offer = plans.find_offer(name)
    if offer is None:
        raise Http404
    subscription = live_subscription(request.actor.team)
    if subscription is None:
        if request.method != "POST":
            return _confirm(request, "subscribe", offer=offer)
        return _reported(request, lambda: _to_checkout(request, offer))
    if request.method != "POST":
        return _reported(request, lambda: _quoted(request, subscription, offer))
    return _reported(request, lambda: _changed(request, subscription, offer))


@_shows_or_does
@never_cache
@billing_page
def cancel_plan(request: MemberRequest) -> HttpResponse:
    """Show what ends with the plan, and when; POST cancels it."""
    subscription = _current_or_404(request)
    if request.method != "POST":
        return _confirm(request, "cancel")

    def action() -> HttpResponse:
        row = plans.cancel(request.actor, subscription, ip_address=client_ip(request))
        messages.success(request, cancelled_text(row))
        return _home()

    return _reported(request, action)


@_shows_or_does
@never_cache
@billing_page
def keep_plan(request: MemberRequest) -> HttpResponse:
    """Show when the plan is paid next; POST undoes its cancellation or downgrade."""
    subscription = _current_or_404(request)
    if request.method != "POST":
        return _confirm(request, "keep")

    def action() -> HttpResponse:
        row = plans.resume(request.actor, subscription, ip_address=client_ip(request))
        messages.success(request, _("Your team stays on {plan}.").format(plan=row.price.plan.title))
        return _home()

    return _reported(request, action)


@require_safe
@never_cache
@billing_page
def plan_begun(request: MemberRequest) -> HttpResponse:
    """Return from Stripe's checkout: fetch the subscription's status and report it."""
    try:
        with payment_errors():
            row = plans.confirm_checkout(request.actor.team)
    except PaymentError:
        messages.info(request, _("Stripe is not responding. Your plan begins once it does."))
        return _home()
    if row is None:
        return redirect("billing")
    if row.status == row.Status.ACTIVE:
        messages.success(
            request, _("Your team is now on {plan}.").format(plan=row.price.plan.title)
        )
    else:
        messages.info(request, _("The payment is not complete yet. Your plan begins once it is."))
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


def _quoted(request: MemberRequest, subscription: Subscription, offer: PlanOffer) -> HttpResponse:
    quote = plans.quote(subscription, offer)
    action = "upgrade" if quote.is_upgrade else "downgrade"
    signed = sign_quote(request.actor.team, offer, quote.at)
    return _confirm(request, action, offer=offer, quote=quote, signed_quote=signed)


def _changed(request: MemberRequest, subscription: Subscription, offer: PlanOffer) -> HttpResponse:
    terms = read_quote(request.POST.get("quote", ""), request.actor.team, offer)
    if terms is None:
        raise PlanError(
            _("The quote on this page expired. Review the new price and confirm again.")
        )
    row = plans.change(
        request.actor,
        subscription,
        offer,
        at=terms.at,
        attempt=terms.attempt,
        ip_address=client_ip(request),
    )
    messages.success(request, changed_text(row, offer))
    return _home()


def _reported(request: MemberRequest, action: Callable[[], HttpResponse]) -> HttpResponse:
    """Return the action's response, or the billing page with the reason it failed."""
    try:
        with payment_errors():
            return action()
    except PlanError as error:
        return show_page(request, status=409, plan_error=str(error))
    except CardDeclinedError as error:
        text = _(
            "Your card was not charged, and your plan is as it was. The bank said: {reason}"
            " Change the card under Payment method, then try again."
        ).format(reason=error.reason)
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
