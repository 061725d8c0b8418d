"""One order: its status, payment, receipt and invoice; and the list of all orders."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from billing.models import CreditAccount, Order, Transfer
from billing.payments import invoices
from billing.payments.customer_pages import PaymentError, payment_errors
from billing.payments.orders import (
    OrderStatus,
    Step,
    receipt_url,
    recorded_status_of,
    status_of,
)
from portal.access import MemberRequest
from portal.billing.queries import order_line, orders_of, plan_payments_of
from portal.billing.views.page import billing_page, payment_mode, to_checkout
from portal.ui.paging import page_of, read_place

# Every two seconds; Stripe is asked at each fifth, as its webhook mostly comes first.
MOST_POLLS = 60
POLLS_PER_QUESTION = 5
NO_DOCUMENT = "Stripe has no such document to show just now. Try again in a minute."


@require_safe
@billing_page
def orders(request: MemberRequest) -> HttpResponse:
    """All of the team's orders, page by page."""
    found = orders_of(request.actor.team)
    page = page_of(
        lambda **_near: found,
        before=read_place(request.GET.get("before", "")),
        after=read_place(request.GET.get("after", "")),
    )
    here = reverse("orders")
    context = {
        "lines": [order_line(order) for order in page.rows],
        "page": {
            "newer_url": f"{here}?after={page.newer}" if page.newer else "",
            "older_url": f"{here}?before={page.older}" if page.older else "",
        },
        **payment_mode(),
    }
    return render(request, "billing/orders.html", context)


@require_safe
@billing_page
def order(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Return from Stripe's checkout, which proves no payment: ask Stripe what was paid."""
    standing = status_of(_order(request, order_id))
    return render(request, "billing/order.html", _context(request, standing, polls=0))


@require_safe
@billing_page
def order_state(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Show the part of the page that it polls while the status may change."""
    found = _order(request, order_id)
    polls = _polls(request)
    standing = _without_asking(found) if polls % POLLS_PER_QUESTION else status_of(found)
    return render(request, "billing/order_state.html", _context(request, standing, polls=polls))


@require_POST
@billing_page
def pay_order(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Go on to Stripe's page for an order that is not paid yet."""
    found = _order(request, order_id)
    if found.state != Order.State.OPEN or found.origin != Order.Origin.CHECKOUT:
        return redirect("order", found.pk)
    try:
        return to_checkout(request, found)
    except PaymentError as error:
        messages.error(request, str(error))
        return redirect("billing")


@require_safe
@billing_page
def left_order(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Return of a buyer who left Stripe's page; they may have paid in another window."""
    standing = status_of(_order(request, order_id))
    if standing.step is not Step.UNPAID:
        return redirect("order", standing.order.pk)
    messages.info(request, "You left the payment page. Nothing was charged.")
    return redirect("billing")


@require_safe
@billing_page
def receipt(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Redirect to Stripe's receipt of the payment."""
    found = _order(request, order_id)
    url = _document_url(found.charge_id, lambda: receipt_url(found))
    return redirect(url) if url else _without_document(request, "order", found.pk)


@require_safe
@billing_page
def invoice(request: MemberRequest, order_id: UUID) -> HttpResponse:
    """Redirect to the invoice, a PDF of Stripe's."""
    found = _order(request, order_id)
    url = _document_url(found.invoice_id, lambda: invoices.pdf_url(found.invoice_id or ""))
    return redirect(url) if url else _without_document(request, "order", found.pk)


@require_safe
@billing_page
def plan_invoice(request: MemberRequest, invoice_id: str) -> HttpResponse:
    """Redirect to an invoice of the team's plan."""
    payment = plan_payments_of(request.actor.team).filter(pk=invoice_id).first()
    if payment is None:
        raise Http404
    url = _document_url(payment.pk, lambda: invoices.pdf_url(payment.pk))
    return redirect(url) if url else _without_document(request, "billing")


def _document_url(number: str | None, ask: Callable[[], str]) -> str:
    """Return the current URL of a document at Stripe; empty if it has none. Raise Http404."""
    if not number:
        raise Http404
    try:
        with payment_errors():
            return ask()
    except PaymentError:
        return ""


def _without_document(request: MemberRequest, page: str, *place: Any) -> HttpResponse:
    messages.error(request, NO_DOCUMENT)
    return redirect(page, *place)


def _order(request: MemberRequest, order_id: UUID) -> Order:
    found = Order.objects.filter(team=request.actor.team, pk=order_id)
    order = found.select_related("team", "user").first()
    if order is None:
        raise Http404
    return order


def _polls(request: MemberRequest) -> int:
    text = request.GET.get("polls", "")
    is_number = text.isascii() and text.isdigit() and len(text) < 10
    return min(int(text), MOST_POLLS) if is_number else MOST_POLLS


def _without_asking(found: Order) -> OrderStatus:
    standing = recorded_status_of(found)
    return OrderStatus(found, Step.PROCESSING) if standing.step is Step.UNKNOWN else standing


def _context(request: MemberRequest, standing: OrderStatus, *, polls: int) -> dict[str, Any]:
    found = standing.order
    context: dict[str, Any] = {
        "standing": standing,
        "order": found,
        "paid_cents": found.amount_cents + found.tax_cents,
        "refunds": [
            (refund, refund.amount_cents + refund.tax_cents)
            for refund in found.refunds.order_by("created_at")
        ],
        "disputes": found.disputes.order_by("created_at"),
        "polls": polls + 1 if standing.may_change and polls < MOST_POLLS else 0,
        **payment_mode(),
    }
    if standing.step is Step.PAID:
        credited = Transfer.objects.filter(
            kind=Transfer.Kind.TOP_UP, reference=found.payment_intent_id
        )
        context["credited"] = credited.first()
        context["account"] = CreditAccount.objects.filter(team=found.team).first()
    return context
