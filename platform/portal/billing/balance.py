"""What the balance is made of, and what of it is spent next."""

from typing import Any

from accounts.access import Actor
from billing.lots import lots_left
from billing.models import CreditAccount


def balance_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `lots`, in the order in which they are spent."""
    return {"lots": lots_left(account) if account is not None else []}
