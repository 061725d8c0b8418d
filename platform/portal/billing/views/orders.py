"""One order: its status, payment, receipt and invoice; and the list of all orders."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from billing.models import Order
from billing.payments import invoices
from billing.payments.customer_pages import PaymentError, payment_errors
from billing.payments.orders import (
    Step,
    has_checkout,
    receipt_url,
    status_between_checks,
    status_of,
)
from portal.access import MemberRequest
from portal.billing import queries
from portal.billing.presenters.orders import MOST_POLLS, order_context, orders_context
from portal.billing.views.page import billing_page, to_checkout
from portal.ui.paging import read_place

# Stripe is asked at each fifth poll, as its webhook mostly comes first.
POLLS_PER_CHECK = 5


@require_safe
@billing_page
def orders(request: MemberRequest) -> HttpResponse:
    """List all of the team's orders, page by page."""
    page = queries.orders_page(
        request.actor.team,
        before=read_place(request.GET.get("before", "")),
        after=read_place(request.GET.get("after", "")),
    )
    return render(request, "billing/orders.html", orders_context(page))


@require_safe
@billing_page
def order(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Return from Stripe's checkout, which proves no payment: ask Stripe what was paid."""
    context = order_context(status_of(_order(request, order_id)), polls=0)
    return render(request, "billing/order.html", context)


@require_safe
@billing_page
def order_state(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Show the part of the page that it polls while the status may change."""
    found = _order(request, order_id)
    polls = _polls(request)
    status = status_between_checks(found) if polls % POLLS_PER_CHECK else status_of(found)
    return render(request, "billing/order_state.html", order_context(status, polls=polls))


@require_POST
@billing_page
def pay_order(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Redirect to Stripe's page for an order that is not paid yet."""
    found = _order(request, order_id)
    if not has_checkout(found):
        return redirect("order", found.pk)
    try:
        return to_checkout(request, found)
    except PaymentError as error:
        messages.error(request, str(error))
        return redirect("billing")


@require_safe
@billing_page
def left_order(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Return from Stripe's page without paying there; it may be paid in another window."""
    status = status_of(_order(request, order_id))
    if status.step is not Step.UNPAID:
        return redirect("order", status.order.pk)
    messages.info(request, _("You left the payment page. Nothing was charged."))
    return redirect("billing")


@require_safe
@billing_page
def receipt(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Redirect to Stripe's receipt of the payment."""
    found = _order(request, order_id)
    return _to_document(
        request, found.charge_id, lambda: receipt_url(found), page=("order", found.pk)
    )


@require_safe
@billing_page
def invoice(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Redirect to the invoice, a PDF at Stripe."""
    found = _order(request, order_id)
    number = found.invoice_id or ""
    return _to_document(request, number, lambda: invoices.pdf_url(number), page=("order", found.pk))


@require_safe
@billing_page
def plan_invoice(request: MemberRequest, invoice_id: str) -> HttpResponse:
    """Redirect to an invoice of the team's plan."""
    payment = queries.find_plan_payment(request.actor.team, invoice_id)
    number = payment.pk if payment else ""
    return _to_document(request, number, lambda: invoices.pdf_url(number), page=("billing",))


def _to_document(
    request: MemberRequest,
    number: str | None,
    current_url: Callable[[], str],
    *,
    page: tuple[Any, ...],
) -> HttpResponse:
    """Redirect to the current URL of a document at Stripe, or back to the page if it has none.

    Raise Http404 without a number.
    """
    if not number:
        raise Http404
    try:
        with payment_errors():
            url = current_url()
    except PaymentError:
        url = ""
    if url:
        return redirect(url)
    messages.error(request, _("Stripe couldn't provide this document. Try again in a minute."))
    return redirect(*page)


def _order(request: MemberRequest, order_id: UUID) -> Order:
    found = queries.find_order(request.actor.team, order_id)
    if found is None:
        raise Http404
    return found


def _polls(request: MemberRequest) -> int:
    text = request.GET.get("polls", "")
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    return min(int(text), MOST_POLLS) if is_number else MOST_POLLS
