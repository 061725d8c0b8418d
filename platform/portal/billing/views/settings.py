"""Card, billing details, auto top-up and promotional codes.

Stripe's own pages take cards: no card number reaches this service.
"""

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.client_ip import client_ip
from billing.payments import auto_top_up, promotions
from billing.payments.auto_top_up import AutoTopUpSettingsError
from billing.payments.customer_pages import PaymentError, payment_errors
from billing.payments.customers import (
    open_card_setup,
    open_customer_portal,
    refresh_card_of_team,
)
from portal.access import MemberRequest
from portal.billing.forms import AutoTopUpForm, CodeForm
from portal.billing.presenters.page import card_name, redeemed_text
from portal.billing.views.page import billing_page, show_page, to_stripe
from portal.ui.rate_limits import seconds_to_wait, too_many


@require_safe
@billing_page
def card(request: MemberRequest) -> HttpResponse:
    """Return from Stripe's pages: fetch the current card and report it."""
    try:
        with payment_errors():
            customer = refresh_card_of_team(request.actor.team)
    except PaymentError:
        messages.warning(request, _("Stripe isn't responding. Your changes will appear shortly."))
        return redirect("billing")
    if customer is None:
        return redirect("billing")
    name = card_name(customer)
    text = (
        _("Your card is {card}.").format(card=name) if name else _("Your team has no saved card.")
    )
    messages.success(request, text)
    return redirect("billing")


@require_POST
@billing_page
def add_card(request: MemberRequest) -> HttpResponse:
    """Redirect to Stripe's page where the team saves a card."""
    try:
        with payment_errors():
            url = open_card_setup(
                request.actor.team,
                request.user,
                success_url=request.build_absolute_uri(reverse("card")),
                cancel_url=request.build_absolute_uri(reverse("billing")),
                ip_address=client_ip(request),
            )
    except PaymentError as error:
        return _closed(request, error)
    return to_stripe(url)


@require_POST
@billing_page
def portal(request: MemberRequest) -> HttpResponse:
    """Redirect to Stripe's customer portal: cards, billing details, invoices."""
    try:
        back = request.build_absolute_uri(reverse("card"))
        with payment_errors():
            url = open_customer_portal(
                request.actor.team,
                request.user,
                return_url=back,
                ip_address=client_ip(request),
            )
    except PaymentError as error:
        return _closed(request, error)
    return to_stripe(url)


def _closed(request: MemberRequest, error: PaymentError) -> HttpResponse:
    messages.error(request, str(error))
    return redirect("billing")


@require_POST
@billing_page
def save_auto_top_up(request: MemberRequest) -> HttpResponse:
    """Save the settings of auto top-up."""
    form = AutoTopUpForm(request.POST)
    status = 422
    if form.is_valid():
        try:
            with payment_errors():
                row = auto_top_up.save_settings(
                    request.actor, form.settings, ip_address=client_ip(request)
                )
        except AutoTopUpSettingsError as error:
            form.show(error.errors)
        except PaymentError:
            form.add_error(None, _("We couldn't check the card. Try again in a minute."))
            status = 503
        else:
            text = _("Auto top-up is on.") if row.is_enabled else _("Auto top-up is off.")
            messages.success(request, text)
            return redirect(reverse("billing"))
    return show_page(request, status=status, auto_top_up_form=form)


@require_POST
@billing_page
def redeem_code(request: MemberRequest) -> HttpResponse:
    """Redeem a promotional code; after too many attempts, answer with the time to wait."""
    for key in ("user", "ip"):
        wait = seconds_to_wait(request, "code", settings.CODE_RATE, key)
        if wait is not None:
            return too_many(request, wait)
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            redemption = promotions.redeem_code(
                request.actor, form.cleaned_data["code"], ip_address=client_ip(request)
            )
        except promotions.CodeError as error:
            form.add_error("code", str(error))
        else:
            messages.success(request, redeemed_text(redemption))
            return redirect(reverse("billing"))
    return show_page(request, status=422, code_form=form)
