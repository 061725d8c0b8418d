"""The ledger's synchronous side, for staff, payments and Celery.

Each function makes one posting at most, named by its `reference` (a settlement by its request): a
repeat with the same fields changes nothing and says so. `platform/docs/ledger.md` is the contract.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection

from accounts.models import Team
from billing.ledger.gate import Settlement, SettlementResult
from billing.ledger.group_commit import without_nul
from billing.models import CreditAccount, Transfer


class LedgerError(Exception):
    """A posting that the ledger refuses; nothing was changed."""


class InsufficientCreditsError(LedgerError):
    """The customer has less available than the posting would take."""


class ReferenceReusedError(LedgerError):
    """The reference names an earlier posting with another amount or customer."""


class UnknownReferenceError(LedgerError):
    """The reference names no posting that could be undone or collected."""


@dataclass(frozen=True)
class Credit:
    """The transfer that gave a customer credits. Its reference alone names none: another kind of
    transfer may have the same.
    """

    kind: Transfer.Kind
    reference: str


@dataclass(frozen=True)
class Posting:
    """What a posting did: `posted`, or `exists` for a repeat. Amounts are nano-dollars.

    `shortfall_nanos` is what was taken back and the customer no longer had.
    """

    code: str
    amount_nanos: int
    balance_nanos: int
    shortfall_nanos: int = 0


def open_account(team: Team) -> CreditAccount:
    """Return the team's credit account, which is made where there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_open_account(%s)", [team.pk])
        (account_id,) = cursor.fetchone()
    return CreditAccount.objects.get(pk=account_id)


def grant(
    account: CreditAccount,
    amount_nanos: int,
    *,
    reference: str,
    memo: str = "",
    expires_at: datetime | None = None,
) -> Posting:
    """Give credits that nobody paid for; what is left at `expires_at` is taken back.

    Raise ReferenceReusedError.
    """
    _require_positive(amount_nanos)
    return _post(
        account,
        amount_nanos,
        Transfer.Kind.GRANT,
        against=CreditAccount.Kind.PROMOTIONAL_GRANTS,
        reference=reference,
        memo=memo,
        expires_at=expires_at,
    )


def top_up(account: CreditAccount, amount_nanos: int, *, reference: str, memo: str = "") -> Posting:
    """Give credits that were paid for; the reference is the payment's.

    Raise ReferenceReusedError.
    """
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
    """Correct a balance: a negative amount takes credits.

    Raise ReferenceReusedError, and InsufficientCreditsError where less is available.
    """
    return _post(
        account,
        amount_nanos,
        Transfer.Kind.ADJUSTMENT,
        against=CreditAccount.Kind.ADJUSTMENTS,
        reference=reference,
        memo=memo,
    )


def refund(
    account: CreditAccount,
    amount_nanos: int,
    *,
    reference: str,
    credit: Credit,
    is_forced: bool = False,
    memo: str = "",
) -> Posting:
    """Take the credits that a payment gave, because the payment is given back.

    Take no more than is unspent of paid credit and of `credit` itself, else raise
    InsufficientCreditsError. A forced refund takes what is available, and books the rest as
    goodwill. Raise ReferenceReusedError.
    """
    return _take_back(
        account,
        amount_nanos,
        Transfer.Kind.REFUND,
        reference=reference,
        credit=credit,
        may_fall_short=is_forced,
        memo=memo,
    )


def claw_back(
    account: CreditAccount, amount_nanos: int, *, reference: str, credit: Credit, memo: str = ""
) -> Posting:
    """Take back what a disputed payment gave: what is available, the rest as a receivable.

    Raise ReferenceReusedError.
    """
    return _take_back(
        account,
        amount_nanos,
        Transfer.Kind.CLAWBACK,
        reference=reference,
        credit=credit,
        may_fall_short=True,
        memo=memo,
    )


def take_back_grant(
    account: CreditAccount,
    amount_nanos: int,
    *,
    reference: str,
    grant_reference: str,
    most_owed_nanos: int,
    memo: str = "",
) -> Posting:
    """Take back up to `amount_nanos` of a grant, because the payment that earned it was reversed.

    Take what is left of the grant and no other credit. What was spent of it is owed, up to
    `most_owed_nanos`. Raise ReferenceReusedError.
    """
    _require_positive(amount_nanos)
    return _call(
        "billing_take_back_grant",
        reference,
        account.pk,
        amount_nanos,
        grant_reference,
        most_owed_nanos,
        memo,
        reference=reference,
    )


def reverse_refund(account: CreditAccount, *, reference: str, memo: str = "") -> Posting:
    """Return what a failed refund took to the lots it was drawn from.

    Raise UnknownReferenceError.
    """
    return _reverse(Transfer.Kind.REFUND, account, reference, memo)


def reverse_claw_back(
    account: CreditAccount, *, reference: str, up_to_nanos: int | None = None, memo: str = ""
) -> Posting:
    """Reverse a claw-back until `up_to_nanos` of it, or all, has been reversed.

    What is still owed is cancelled first; then what was taken returns to the lots it was drawn
    from. With `posted` the amounts are this call's, with `exists` those of all calls so far. Raise
    UnknownReferenceError.
    """
    return _reverse(Transfer.Kind.CLAWBACK, account, reference, memo, up_to_nanos)


def collect(account: CreditAccount, *, reference: str, memo: str = "") -> Posting:
    """Collect what is still owed for a claw-back (its reference), all of it or nothing.

    Raise UnknownReferenceError, and InsufficientCreditsError where less is available.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM billing_collect(%s, %s, %s)", [reference, account.pk, memo])
        code, collected_nanos, balance_nanos = cursor.fetchone()
    _require_accepted(code, reference)
    return Posting(code, collected_nanos, balance_nanos)


def book_subscription(amount_nanos: int, *, reference: str, memo: str = "") -> str:
    """Book a subscription's payment (its invoice) as revenue. Return `posted` or `exists`.

    Raise ReferenceReusedError.
    """
    sides = CreditAccount.Kind.STRIPE_CLEARING, CreditAccount.Kind.REVENUE
    return _book(Transfer.Kind.SUBSCRIPTION, sides, amount_nanos, reference, memo)


def reverse_subscription(amount_nanos: int, *, reference: str, memo: str = "") -> str:
    """Move a subscription's payment out of revenue: a dispute or a refund (the reference).

    Return `posted` or `exists`. Raise ReferenceReusedError.
    """
    sides = CreditAccount.Kind.REVENUE, CreditAccount.Kind.STRIPE_CLEARING
    return _book(Transfer.Kind.REVENUE_REVERSAL, sides, amount_nanos, reference, memo)


def reinstate_subscription(amount_nanos: int, *, reference: str, memo: str = "") -> str:
    """Book the returned part of a disputed or refunded subscription payment as revenue again.

    Return `posted` or `exists`. Raise ReferenceReusedError.
    """
    sides = CreditAccount.Kind.STRIPE_CLEARING, CreditAccount.Kind.REVENUE
    return _book(Transfer.Kind.REVENUE_REINSTATEMENT, sides, amount_nanos, reference, memo)


def settle(settlement: Settlement) -> SettlementResult:
    """End a reservation, as the relay does: for work that ends outside of a request.

    It joins the caller's transaction, so that a job's end and its settlement are one. A repeat
    changes nothing and says `already_ended`.
    """
    row = without_nul(msgspec.json.encode(settlement)).decode()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT code, charged_nanos, written_off_nanos, balance_nanos"
            " FROM billing_settle(%s::jsonb)",
            [f"[{row}]"],
        )
        found = cursor.fetchone()
    if found is None:
        return SettlementResult(request_id=settlement.request_id, code="unknown_reservation")
    code, charged, written_off, balance = found
    return SettlementResult(
        request_id=settlement.request_id,
        code=code,
        charged_nanos=charged,
        written_off_nanos=written_off,
        balance_nanos=balance,
    )


def _post(
    account: CreditAccount,
    amount_nanos: int,
    kind: Transfer.Kind,
    *,
    against: CreditAccount.Kind,
    reference: str,
    memo: str,
    expires_at: datetime | None = None,
) -> Posting:
    """Post between the customer and a platform account; a negative amount debits the customer."""
    if amount_nanos == 0:
        raise ValueError("A posting moves an amount.")
    direction = "credit" if amount_nanos > 0 else "debit"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT code, amount_nanos, balance_nanos"
            " FROM billing_post(%s, %s, %s, %s, %s, %s, %s, %s)",
            [kind, reference, account.pk, direction, against, abs(amount_nanos), memo, expires_at],
        )
        code, amount, balance = cursor.fetchone()
    _require_accepted(code, reference)
    return Posting(code, amount, balance)


def _take_back(
    account: CreditAccount,
    amount_nanos: int,
    kind: Transfer.Kind,
    *,
    reference: str,
    credit: Credit,
    may_fall_short: bool,
    memo: str,
) -> Posting:
    _require_positive(amount_nanos)
    return _call(
        "billing_take_back_credit",
        kind,
        reference,
        account.pk,
        amount_nanos,
        credit.kind,
        credit.reference,
        may_fall_short,
        memo,
        reference=reference,
    )


def _reverse(
    kind: Transfer.Kind,
    account: CreditAccount,
    reference: str,
    memo: str,
    up_to_nanos: int | None = None,
) -> Posting:
    if up_to_nanos is None:
        named = [kind, reference, account.pk, memo]
        return _call("billing_reverse", *named, reference=reference)
    _require_positive(up_to_nanos)
    named = [kind, reference, account.pk, up_to_nanos, memo]
    return _call("billing_reverse_up_to", *named, reference=reference)


def _call(function: str, *arguments: Any, reference: str) -> Posting:
    """Call a function that returns code, amount, shortfall and balance."""
    with connection.cursor() as cursor:
        cursor.callproc(function, arguments)
        code, amount_nanos, shortfall_nanos, balance_nanos = cursor.fetchone()
    _require_accepted(code, reference)
    return Posting(code, amount_nanos, balance_nanos, shortfall_nanos)


def _book(
    kind: Transfer.Kind,
    sides: tuple[CreditAccount.Kind, CreditAccount.Kind],
    amount_nanos: int,
    reference: str,
    memo: str,
) -> str:
    """Post between two of the platform's accounts: `sides` are the debited and the credited one."""
    _require_positive(amount_nanos)
    with connection.cursor() as cursor:
        cursor.callproc("billing_book", [kind, reference, *sides, amount_nanos, memo])
        (code,) = cursor.fetchone()
    _require_accepted(code, reference)
    return str(code)


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
    if code == "unknown":
        raise UnknownReferenceError(f"{reference} names nothing that was taken from the customer.")
