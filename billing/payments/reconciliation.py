"""Reconciliation of Stripe's balance transactions with our rows, and with the ledger.

Every payment, refund and dispute is compared twice: Stripe with our row, and Stripe with the
ledger. Balance transactions outside the period are fetched only where the amounts differ, so a
payment at midnight is no difference.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q, Sum
from django.utils import timezone

from billing.errors import StripeRejectedError
from billing.ledger.alerts import raise_alert
from billing.models import (
    CreditAccount,
    Dispute,
    Order,
    PaymentCustomer,
    PlanRefund,
    Refund,
    SubscriptionPayment,
    Transfer,
)
from billing.payments.orders import find_order
from billing.pricing.money import NANOS_PER_CENT, cents_text
from billing.stripe_api import balance, payments
from billing.stripe_api.balance import BalanceTransaction
from billing.stripe_settings import is_live

CHARGES = ("charge", "charge_failure")
REFUNDS = ("refund", "refund_failure")
DISPUTES = ("dispute", "dispute_reversal")
# Newer transactions may not be booked yet: their webhook or the next hourly check will do it.
GRACE = timedelta(hours=2)

# The kinds of transfers between a customer (or the account of a shortfall) and Stripe's clearing.
_REFUND_KINDS = (
    Transfer.Kind.REFUND,
    Transfer.Kind.REFUND_REVERSAL,
    Transfer.Kind.GOODWILL,
    Transfer.Kind.GOODWILL_REVERSAL,
)
_DISPUTE_KINDS = (
    Transfer.Kind.CLAWBACK,
    Transfer.Kind.CLAWBACK_REVERSAL,
    Transfer.Kind.RECEIVABLE,
    Transfer.Kind.RECEIVABLE_REVERSAL,
)
_REVENUE_KINDS = (Transfer.Kind.REVENUE_REVERSAL, Transfer.Kind.REVENUE_REINSTATEMENT)
# These may come in parts; a later part's reference ends with the sum of those before it.
_PART_KINDS = (
    (Transfer.Kind.CLAWBACK_REVERSAL, Transfer.Kind.RECEIVABLE_REVERSAL),
    (Transfer.Kind.REVENUE_REINSTATEMENT,),
)


@dataclass(frozen=True)
class Difference:
    """A difference between Stripe and our rows, or between Stripe and the ledger."""

    reference: str
    stripe_cents: int
    books_cents: int
    sentence: str


@dataclass
class Report:
    """The result of a reconciliation. Amounts are cents; incoming amounts are positive.

    `foreign` are payments of the same Stripe account that belong to another business, `other` is
    everything else by Stripe's reporting category (payouts, Stripe's own fees).
    """

    since: datetime
    until: datetime
    compared: int = 0
    stripe_cents: int = 0
    books_cents: int = 0
    fee_cents: int = 0
    foreign: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)


@dataclass
class _Entry:
    """One of our payments, refunds or disputes, with its identifiers at Stripe and in the ledger.

    `ledger_kinds` are the kinds of its transfers under `ledger_reference`: a reference is unique
    within its kind only. What they moved is compared with what Stripe moved, less `tax_cents`,
    the tax in `charged_cents`. The tax is None for a plan's payment that did not record it.
    `credit_nanos` are the credits on our row, or None if it has none to compare.
    """

    id: str
    name: str
    books_cents: int
    source_id: str = ""
    ledger_reference: str = ""
    ledger_kinds: tuple[Transfer.Kind, ...] = ()
    charged_cents: int = 0
    tax_cents: int | None = 0
    credit_nanos: int | None = None
    stripe_cents: int = 0


def reconcile(since: datetime, until: datetime | None = None) -> Report:
    """Compare Stripe's balance from `since` to before `until` (now) with our rows and the ledger.

    Raise StripeError.
    """
    report = Report(since, until or timezone.now())
    moved: dict[str, list[BalanceTransaction]] = defaultdict(list)
    for transaction in balance.balance_transactions(since, report.until):
        report.fee_cents += transaction.fee_cents
        if transaction.category in (*CHARGES, *REFUNDS, *DISPUTES):
            moved[_entry_id(transaction)].append(transaction)
        else:
            before = report.other.get(transaction.category, 0)
            report.other[transaction.category] = before + transaction.amount_cents
    entries = _entries_of(moved.keys(), since, report.until)
    for entry_id, transactions in moved.items():
        if entry_id not in entries:
            entry = _unbooked(transactions[0])
            if entry is None:
                report.foreign[entry_id] = _sum(transactions)
            else:
                entries[entry_id] = entry
    for entry_id, entry in entries.items():
        _compare(report, entry, moved.get(entry_id, []))
    _compare_with_ledger(report, list(entries.values()))
    return report


def raise_alerts(report: Report) -> int:
    """Raise an alert for each difference, once. Return the number of new alerts."""
    return sum(
        raise_alert(
            "reconciliation",
            f"{each.reference} {each.stripe_cents} {each.books_cents}",
            each.sentence,
        )
        for each in report.differences
    )


def _entry_id(transaction: BalanceTransaction) -> str:
    """Return the id that groups transactions: a PaymentIntent's, a refund's or a dispute's."""
    is_charge = transaction.category in CHARGES
    return (transaction.payment_intent_id if is_charge else "") or transaction.source_id


def _entries_of(entry_ids: Iterable[str], since: datetime, until: datetime) -> dict[str, _Entry]:
    """Return the entries of our rows with these ids, and of those that ended in the period."""
    ids, live = list(entry_ids), is_live()
    period = (since, until)
    orders = Order.objects.filter(state=Order.State.PAID, is_live=live).filter(
        Q(payment_intent_id__in=ids) | Q(ended_at__range=period)
    )
    refunds = Refund.objects.filter(order__is_live=live, stripe_id__isnull=False).filter(
        Q(stripe_id__in=ids) | Q(ended_at__range=period)
    )
    plan_refunds = PlanRefund.objects.filter(payment__subscription__is_live=live).filter(
        Q(stripe_id__in=ids) | Q(created_at__range=period)
    )
    disputes = Dispute.objects.filter(
        Q(order__is_live=live) | Q(subscription_payment__subscription__is_live=live)
    ).filter(Q(stripe_id__in=ids) | Q(created_at__range=period))
    invoices = SubscriptionPayment.objects.filter(subscription__is_live=live).filter(
        Q(payment_intent_id__in=ids) | Q(invoice_id__in=ids) | Q(paid_at__range=period)
    )
    found = [
        *(_of_order(order) for order in orders),
        *(_of_refund(refund) for refund in refunds.select_related("order")),
        *(_of_plan_refund(refund) for refund in plan_refunds.select_related("payment")),
        *(_of_dispute(dispute) for dispute in disputes.select_related("subscription_payment")),
        *(_of_invoice(payment) for payment in invoices if payment.amount_cents),
    ]
    return {entry.id: entry for entry in found}


def _of_order(order: Order) -> _Entry:
    return _Entry(
        id=order.payment_intent_id or "",
        name=f"Order {order.number}, payment {order.payment_intent_id}",
        books_cents=order.amount_cents + order.tax_cents,
        source_id=order.charge_id or "",
        ledger_reference=order.payment_intent_id or "",
        ledger_kinds=(Transfer.Kind.TOP_UP,),
        charged_cents=order.amount_cents + order.tax_cents,
        tax_cents=order.tax_cents,
        credit_nanos=order.credit_nanos,
    )


def _of_refund(refund: Refund) -> _Entry:
    has_left = refund.state in {Refund.State.PENDING, Refund.State.SUCCEEDED}
    return _Entry(
        id=refund.stripe_id or "",
        name=f"Refund {refund.stripe_id} of Order {refund.order.number}",
        books_cents=-(refund.amount_cents + refund.tax_cents) if has_left else 0,
        source_id=refund.stripe_id or "",
        ledger_reference=str(refund.pk),
        ledger_kinds=_REFUND_KINDS,
        charged_cents=refund.amount_cents + refund.tax_cents,
        tax_cents=refund.tax_cents,
        credit_nanos=0 if refund.state in Refund.UNSUCCESSFUL_STATES else -refund.credit_nanos,
    )


def _of_plan_refund(refund: PlanRefund) -> _Entry:
    has_left = refund.state not in PlanRefund.UNSUCCESSFUL_STATES
    return _Entry(
        id=refund.stripe_id,
        name=f"Refund {refund.stripe_id} of Invoice {refund.payment_id}",
        books_cents=-refund.amount_cents if has_left else 0,
        source_id=refund.stripe_id,
        ledger_reference=refund.stripe_id,
        ledger_kinds=_REVENUE_KINDS,
        charged_cents=refund.payment.amount_cents,
        tax_cents=refund.payment.tax_cents,
    )


def _of_dispute(dispute: Dispute) -> _Entry:
    payment = dispute.subscription_payment
    return _Entry(
        id=dispute.stripe_id,
        name=f"Dispute {dispute.stripe_id} of {dispute.payment}",
        books_cents=-dispute.withdrawn_cents,
        source_id=dispute.stripe_id,
        ledger_reference=dispute.stripe_id,
        ledger_kinds=(*_DISPUTE_KINDS, *_REVENUE_KINDS),
        charged_cents=payment.amount_cents if payment else dispute.amount_cents,
        tax_cents=payment.tax_cents if payment else dispute.tax_cents,
    )


def _of_invoice(payment: SubscriptionPayment) -> _Entry:
    return _Entry(
        id=payment.payment_intent_id or payment.invoice_id,
        name=f"Invoice {payment.invoice_id} of a plan, payment {payment.payment_intent_id}",
        books_cents=payment.amount_cents,
        source_id=payment.charge_id or "",
        ledger_reference=payment.invoice_id,
        ledger_kinds=(Transfer.Kind.SUBSCRIPTION,),
        charged_cents=payment.amount_cents,
        tax_cents=payment.tax_cents,
    )


def _unbooked(transaction: BalanceTransaction) -> _Entry | None:
    """Return an entry for a transaction that is not booked, or None if it is not ours."""
    entry_id = _entry_id(transaction)
    if transaction.category in CHARGES:
        order = find_order(transaction.order_id)
        if order is not None:
            name = f"Order {order.number} ({order.state} here), payment {entry_id}"
            return _Entry(entry_id, name, 0, transaction.source_id)
        customer = PaymentCustomer.objects.filter(stripe_id=transaction.customer_id or "-").first()
        if customer is None:
            return None
        name = f"Payment {entry_id} of {customer.team.slug}, for no known order or plan"
        return _Entry(entry_id, name, 0, transaction.source_id)
    payment = transaction.payment_intent_id or "-"
    is_ours = (
        Order.objects.filter(payment_intent_id=payment).exists()
        or SubscriptionPayment.objects.filter(payment_intent_id=payment).exists()
    )
    if not is_ours:
        return None
    kind = "Refund" if transaction.category in REFUNDS else "Dispute"
    return _Entry(entry_id, f"{kind} {entry_id} of payment {payment}", 0, entry_id)


def _compare(report: Report, entry: _Entry, transactions: list[BalanceTransaction]) -> None:
    """Report a difference between Stripe and our row."""
    cents = _sum(transactions)
    if cents != entry.books_cents:
        cents = _all_time_cents(entry)
    entry.stripe_cents = cents
    report.compared += 1
    report.stripe_cents += cents
    report.books_cents += entry.books_cents
    currencies = {transaction.currency for transaction in transactions} - {"usd"}
    if cents == entry.books_cents and not currencies:
        return
    stripe = cents_text(cents) + (f" ({', '.join(sorted(currencies))})" if currencies else "")
    report.differences.append(
        Difference(
            reference=entry.id,
            stripe_cents=cents,
            books_cents=entry.books_cents,
            sentence=f"{entry.name}: Stripe moved {stripe}, the books say "
            f"{cents_text(entry.books_cents)}.",
        )
    )


def _compare_with_ledger(report: Report, entries: list[_Entry]) -> None:
    """Report where the ledger moved another amount than Stripe, less tax.

    Tax is split by proportion, so a part may be off by a cent. Where our row differs from Stripe
    and the ledger follows our row, the difference is in the report already.
    """
    posted = _posted_nanos([entry.ledger_reference for entry in entries if entry.ledger_reference])
    for entry in entries:
        if not entry.ledger_reference:
            continue
        nanos = sum(posted[kind, entry.ledger_reference] for kind in entry.ledger_kinds)
        nanos += _later_parts_nanos(entry, posted)
        expected = _expected_instead(nanos, entry)
        if not expected:
            continue
        report.differences.append(
            Difference(
                reference=f"ledger {entry.ledger_reference}",
                stripe_cents=entry.stripe_cents,
                books_cents=nanos // NANOS_PER_CENT,
                sentence=f"{entry.name}: the ledger has "
                f"{cents_text(nanos // NANOS_PER_CENT)} under {entry.ledger_reference}, where "
                f"{expected} is expected.",
            )
        )


def _expected_instead(nanos: int, entry: _Entry) -> str:
    """Return what the ledger should have moved, or "" if `nanos` is right."""
    if entry.credit_nanos not in {None, nanos}:
        return cents_text((entry.credit_nanos or 0) // NANOS_PER_CENT)
    if _is_without_tax(nanos, entry.stripe_cents, entry):
        return ""
    is_reported = entry.stripe_cents != entry.books_cents
    if is_reported and _is_without_tax(nanos, entry.books_cents, entry):
        return ""
    if entry.tax_cents is None:
        return f"more than nothing, up to {cents_text(entry.stripe_cents)}"
    return cents_text(entry.stripe_cents - _tax_of(entry.stripe_cents, entry))


def _is_without_tax(nanos: int, cents: int, entry: _Entry) -> bool:
    """Return whether the ledger moved what was charged or returned, without its tax."""
    if entry.tax_cents is None:  # an older payment of a plan, which did not record it
        return nanos == 0 if cents == 0 else 0 < nanos / cents <= NANOS_PER_CENT
    difference = nanos - (cents - _tax_of(cents, entry)) * NANOS_PER_CENT
    return difference == 0 if not entry.tax_cents else abs(difference) <= NANOS_PER_CENT


def _tax_of(cents: int, entry: _Entry) -> int:
    """Return the share of the entry's tax in an amount of it, rounded toward zero."""
    share = abs(cents) * (entry.tax_cents or 0) // (entry.charged_cents or 1)
    return share if cents > 0 else -share


def _later_parts_nanos(entry: _Entry, posted: dict[tuple[str, str], int]) -> int:
    """Return what was returned of an entry in parts after the first one."""
    found = 0
    for kinds in _PART_KINDS:
        reference = entry.ledger_reference
        total = 0
        if not set(kinds) <= set(entry.ledger_kinds):
            continue
        while part := sum(posted[kind, reference] for kind in kinds):
            found += part if total else 0
            total += part
            reference = f"{entry.ledger_reference}:{total}"
            posted |= _posted_nanos([reference])
    return found


def _posted_nanos(references: list[str]) -> dict[tuple[str, str], int]:
    """Return the ledger's net debit of Stripe's clearing account by kind and reference."""
    clearing = CreditAccount.objects.get(kind=CreditAccount.Kind.STRIPE_CLEARING).pk
    found: dict[tuple[str, str], int] = defaultdict(int)
    for side, sign in (("debit_account", 1), ("credit_account", -1)):
        rows = Transfer.objects.filter(reference__in=references, **{side: clearing})
        sums = rows.values_list("kind", "reference").annotate(Sum("amount_nanos"))
        for kind, reference, nanos in sums:
            found[kind, reference] += sign * nanos
    return found


def _all_time_cents(entry: _Entry) -> int:
    """Return the net cents ever moved for an entry: 0 if Stripe does not know it."""
    try:
        source_id = entry.source_id or payments.get_payment_intent(entry.id).charge_id
        return balance.net_moved_cents(source_id) if source_id else 0
    except StripeRejectedError:
        return 0


def _sum(transactions: list[BalanceTransaction]) -> int:
    return sum(transaction.amount_cents for transaction in transactions)
