"""Auto top-up as the page shows it: its settings, what it bought, and what is in its way."""

import uuid
from typing import Any

from django.utils import timezone

from accounts.access import Actor
from billing.models import AutoTopUp, CreditAccount
from billing.payments.auto_top_up import bought_this_month_cents
from billing.payments.auto_top_up_outcome import DECLINE_RETRY_DELAYS, OWNER_ACTION_PROBLEMS
from portal.billing.auto_forms import AutoTopUpForm, CodeForm


def auto_top_up_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `auto_top_up` (the row), its form, and the id of an order that would mend it."""
    row: AutoTopUp | None = getattr(actor.team, "auto_top_up", None)
    is_on = row is not None and row.is_enabled
    return {
        "auto_top_up": row,
        "auto_top_up_form": AutoTopUpForm.of(row),
        "auto_top_up_waits": is_on and row is not None and row.problem in OWNER_ACTION_PROBLEMS,
        "auto_top_up_bought_cents": bought_this_month_cents(actor.team, timezone.now())
        if is_on
        else 0,
        "auto_top_up_attempts": len(DECLINE_RETRY_DELAYS) + 1,
        "auto_top_up_order_id": uuid.uuid4(),
    }


def code_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `code_form`."""
    return {"code_form": CodeForm()}
