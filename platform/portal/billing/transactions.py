"""The newest movements of the credits, but for usage, which has pages of its own."""

from typing import Any

from accounts.access import Actor
from billing.models import CreditAccount, Transfer

ROWS = 6


def transactions_section(actor: Actor, account: CreditAccount | None) -> dict[str, Any]:
    """Gives `transactions`: transfers, each with its amount as the balance saw it."""
    if account is None:
        return {"transactions": []}
    found = Transfer.objects.filter(customer=account).exclude(kind=Transfer.Kind.USAGE)
    newest = found.order_by("-sequence")[:ROWS]
    return {
        "transactions": [
            (row, row.amount_nanos if row.credit_account_id == account.pk else -row.amount_nanos)
            for row in newest
        ]
    }
