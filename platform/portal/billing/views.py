"""The billing page, and the purchase of credits that begins there."""

from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_POST, require_safe

from accounts.client_ip import client_ip
from billing.errors import StripeError
from billing.payments import orders
from portal.access import MemberRequest
from portal.billing.checkout import to_checkout, trouble_with
from portal.billing.forms import TopUpForm
from portal.billing.page import billing_page, show_page


@require_safe
@billing_page
def billing(request: MemberRequest) -> HttpResponse:
    """The whole page, from the database alone: it is there when Stripe is not."""
    asked = request.GET.get("amount", "")
    return (
        show_page(request, top_up_form=TopUpForm.of_amount(asked)) if asked else show_page(request)
    )


@require_POST
@billing_page
def top_up(request: MemberRequest) -> HttpResponse:
    """Places an order and leads to Stripe's page for it; sent twice it is the same order."""
    form = TopUpForm(request.POST)
    order_id = _order_id(request)
    if order_id is None:
        form.add_error(None, "The form was not whole. Send it again.")
    if order_id is None or not form.is_valid():
        return show_page(request, status=422, top_up_form=form)
    try:
        order = orders.place(
            request.actor.team,
            request.user,
            form.cleaned_data["amount_cents"],
            order_id,
            ip_address=client_ip(request),
        )
    except orders.OrderError as error:
        form.add_error(None, str(error))
        return show_page(request, status=422, top_up_form=form)
    try:
        return to_checkout(request, order)
    except StripeError as error:
        # The form keeps the order's id: sent again it goes on with this order.
        form.add_error(None, trouble_with(error))
        return show_page(request, status=503, top_up_form=form, top_up_order_id=order.pk)


def _order_id(request: MemberRequest) -> UUID | None:
    try:
        return UUID(request.POST.get("order", ""))
    except ValueError:
        return None
