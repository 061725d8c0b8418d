"""Credits: what is left, what they are bought with, and every receipt."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from portal.access import MemberRequest
from portal.billing.page import billing_page, show_page


@require_safe
@billing_page
def billing(request: MemberRequest) -> HttpResponse:
    """The whole page, from the database alone: it is there when Stripe is not."""
    return show_page(request)
