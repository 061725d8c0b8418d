"""The form that buys credits."""

import uuid
from typing import Any

from django.conf import settings

from accounts.access import Actor
from billing.models import CreditAccount
from portal.billing.forms import TopUpForm


def top_up_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `top_up_form` and `top_up_order_id`, the order that this form will be if it is sent."""
    return {
        "top_up_form": TopUpForm(),
        "top_up_order_id": uuid.uuid4(),
        "top_up_is_taxed": settings.STRIPE_TAX,
    }
