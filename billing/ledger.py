"""The ledger's synchronous side, for staff, payments and Celery.

Each function makes at most one posting, named by its `reference` (a settlement by its request): a
repeat with the same fields changes nothing and says so. `platform/docs/ledger.md` is the contract.
"""

from dataclasses import dataclass

import msgspec
from django.db import connection

from accounts.models import Team
from billing.gate import Receipt, Settlement
from billing.models import CreditAccount, Transfer


class LedgerError(Exception):
    """A posting that the ledger refuses; nothing was changed."""


class InsufficientCreditsError(LedgerError):
    """The customer has less available than the posting would take."""


class ReferenceReusedError(LedgerError):
    """The reference names an earlier posting with another amount or customer."""


@dataclass(frozen=True)
class Posting:
    """What a posting did: `posted`, or `exists` for a repeat. Amounts are nano-dollars."""

    code: str
    amount_nanos: int
    balance_nanos: int
    receivable_nanos: int = 0


def open_account(team: Team) -> CreditAccount:
    """Returns the team's credit account, which is made where there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_open_account(%s)", [team.pk])
        (account_id,) = cursor.fetchone()
    return CreditAccount.objects.get(pk=account_id)


def grant(account: CreditAccount, amount_nanos: int, *, reference: str, memo: str = "") -> Posting:
    """Gives credits that nobody paid for. Raises ReferenceReusedError."""
    _require_positive(amount_nanos)
    return _post(
        account,
        amount_nanos,
        Transfer.Kind.GRANT,
        against=CreditAccount.Kind.PROMOTIONAL_GRANTS,
        reference=reference,
        memo=memo,
    )


def top_up(account: CreditAccount, amount_nanos: int, *, reference: str, memo: str = "") -> Posting:
    """Gives credits that were paid for. Raises ReferenceReusedError."""
    _require_positive(amount_nanos)
    return _post(
        account,
        amount_nanos,
        Transfer.Kind.TOP_UP,
        against=CreditAccount.Kind.STRIPE_CLEARING,
        reference=reference,
        memo=memo,
    )


def adjust(account: CreditAccount, amount_nanos: int, *, reference: str, memo: str) -> Posting:
    """Corrects a balance: a negative amount takes credits.

    Raises ReferenceReusedError, and InsufficientCreditsError where less is available.
    """
    return _post(
        account,
        amount_nanos,
        Transfer.Kind.ADJUSTMENT,
        against=CreditAccount.Kind.ADJUSTMENTS,
        reference=reference,
        memo=memo,
    )


def refund(account: CreditAccount, amount_nanos: int, *, reference: str, memo: str = "") -> Posting:
    """Takes credits whose payment is given back.

    Raises ReferenceReusedError, and InsufficientCreditsError where less is available.
    """
    _require_positive(amount_nanos)
    return _post(
        account,
        -amount_nanos,
        Transfer.Kind.REFUND,
        against=CreditAccount.Kind.STRIPE_CLEARING,
        reference=reference,
        memo=memo,
    )


def claw_back(
    account: CreditAccount, amount_nanos: int, *, reference: str, memo: str = ""
) -> Posting:
    """Takes back what a disputed payment gave: what is available, the rest as a receivable.

    Raises ReferenceReusedError.
    """
    _require_positive(amount_nanos)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT * FROM billing_claw_back(%s, %s, %s, %s)",
            [reference, account.pk, amount_nanos, memo],
        )
        code, clawed_back_nanos, receivable_nanos, balance_nanos = cursor.fetchone()
    _require_accepted(code, reference)
    return Posting(code, clawed_back_nanos, balance_nanos, receivable_nanos)


def settle(settlement: Settlement) -> Receipt:
    """Ends a reservation, as the relay does: for work that ends outside of a request.

    It joins the caller's transaction, so that a job's end and its settlement are one. A repeat
    changes nothing and says `already_ended`.
    """
    # PostgreSQL's text holds no NUL.
    row = msgspec.json.encode(settlement).replace(b"\\u0000", b"\\ufffd").decode()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT code, charged_nanos, written_off_nanos, balance_nanos"
            " FROM billing_settle(%s::jsonb)",
            [f"[{row}]"],
        )
        found = cursor.fetchone()
    if found is None:
        return Receipt(request_id=settlement.request_id, code="unknown_reservation")
    code, charged, written_off, balance = found
    return Receipt(
        request_id=settlement.request_id,
        code=code,
        charged_nanos=charged,
        written_off_nanos=written_off,
        balance_nanos=balance,
    )


def sweep(row_limit: int = 1000) -> int:
    """Ends up to `row_limit` reservations that have expired. Returns how many it ended."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_sweep(%s)", [row_limit])
        (ended,) = cursor.fetchone()
    return int(ended)


def _post(
    account: CreditAccount,
    amount_nanos: int,
    kind: Transfer.Kind,
    *,
    against: CreditAccount.Kind,
    reference: str,
    memo: str,
) -> Posting:
    """Posts between the customer and a platform account; a negative amount debits the customer."""
    if amount_nanos == 0:
        raise ValueError("A posting moves an amount.")
    direction = "credit" if amount_nanos > 0 else "debit"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT code, amount_nanos, balance_nanos"
            " FROM billing_post(%s, %s, %s, %s, %s, %s, %s)",
            [kind, reference, account.pk, direction, against, abs(amount_nanos), memo],
        )
        code, amount, balance = cursor.fetchone()
    _require_accepted(code, reference)
    return Posting(code, amount, balance)


def _require_positive(amount_nanos: int) -> None:
    if amount_nanos <= 0:
        raise ValueError("A posting moves a positive amount.")


def _require_accepted(code: str, reference: str) -> None:
    if code == "exceeds_credits":
        raise InsufficientCreditsError("The customer has less than that available.")
    if code == "exists_with_different_fields":
        raise ReferenceReusedError(
            f"{reference} names an earlier posting with another amount or customer."
        )
