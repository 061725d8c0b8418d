"""The billing page, and the purchase of credits that starts there.

A view that handles a section's form shows the page again with the form when it has an error:
`show_page(request, status=422, top_up_form=form)`.
"""

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.client_ip import client_ip
from billing.models import Order
from billing.payments import orders
from billing.payments.customer_pages import PaymentError, payment_errors
from portal.access import MemberRequest, member_page_if
from portal.billing.forms import TopUpForm
from portal.billing.presenters.page import page_context

billing_page = member_page_if(lambda actor: actor.may_see_billing)


def show_page(request: MemberRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    """Return the page; `more` goes before what its sections give."""
    context = page_context(request.actor) | more
    return render(request, "billing/page.html", context, status=status)


def to_checkout(request: MemberRequest, order: Order) -> HttpResponse:
    """Redirect to Stripe's page for the order, or to ours where it is over. Raise PaymentError."""
    with payment_errors():
        url = orders.open_checkout(
            order,
            request.user,
            success_url=request.build_absolute_uri(reverse("order", args=[order.pk])),
            cancel_url=request.build_absolute_uri(reverse("left_order", args=[order.pk])),
        )
    return to_stripe(url) if url else redirect("order", order.pk)


def to_stripe(url: str) -> HttpResponse:
    """Redirect a browser that has submitted a form to a page at Stripe."""
    return HttpResponseRedirect(url, status=303)


@require_safe
@billing_page
def billing(request: MemberRequest) -> HttpResponse:
    """Show the page, from the database alone: it works while Stripe is down."""
    asked = request.GET.get("amount", "")
    return (
        show_page(request, top_up_form=TopUpForm.of_amount(asked)) if asked else show_page(request)
    )


@require_POST
@billing_page
def top_up(request: MemberRequest) -> HttpResponse:
    """Place an order and redirect to Stripe's page for it; submitted twice it is the same order."""
    form = TopUpForm(request.POST)
    if not form.is_valid():
        return show_page(request, status=422, top_up_form=form)
    try:
        order = orders.place(
            request.actor.team,
            request.user,
            form.cleaned_data["amount_cents"],
            form.cleaned_data["order_id"],
            ip_address=client_ip(request),
        )
    except orders.OrderError as error:
        form.add_error(None, str(error))
        return show_page(request, status=422, top_up_form=form)
    try:
        return to_checkout(request, order)
    except PaymentError as error:
        # The form keeps the order's id, so that submitting it again continues this order.
        form.add_error(None, str(error))
        return show_page(request, status=503, top_up_form=form, top_up_order_id=order.pk)
