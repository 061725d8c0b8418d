"""Stripe's balance against our books: each difference in a sentence, with both figures.

Two things are compared for every payment, refund and dispute: what Stripe moved with what our row
says, and our row with the ledger. What moved at Stripe before or after the time looked at is asked
for only where the figures differ, so a payment at midnight is no difference.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Q, Sum
from django.utils import timezone

from billing.ledger.alerts import raise_alert
from billing.models import (
    CreditAccount,
    Dispute,
    Order,
    PaymentCustomer,
    Refund,
    SubscriptionPayment,
    Transfer,
)
from billing.payments.orders import find_order
from billing.pricing.money import NANOS_PER_CENT, cents_text
from billing.stripe_api import balance, client, payments
from billing.stripe_api.balance import Movement
from billing.stripe_api.client import StripeRefusedError

Kind = Transfer.Kind

CHARGES = ("charge", "charge_failure")
REFUNDS = ("refund", "refund_failure")
DISPUTES = ("dispute", "dispute_reversal")
# What moved so lately may be on its way to the books: in a webhook, or in the next hourly check.
GRACE = timedelta(hours=2)


@dataclass(frozen=True)
class Difference:
    """Something that Stripe and the books, or the books among themselves, say differently."""

    reference: str
    stripe_cents: int
    books_cents: int
    sentence: str


@dataclass
class Report:
    """What a reconciliation came to. Amounts are cents; what came in is positive.

    `foreign` are payments of the same Stripe account that are none of this service's, `other` is
    what else moved, by Stripe's categories (payouts, its bills).
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
    """A payment, refund or dispute: what our row says of it, and what it names at Stripe.

    `ledger_nanos` is what transfers of `ledger_kinds` should have moved under `ledger_reference`;
    None: it is not known from here, as a plan's price and its tax are one figure.
    """

    id: str
    name: str
    books_cents: int
    source_id: str = ""
    ledger_reference: str = ""
    ledger_kinds: tuple[str, ...] = ()
    ledger_nanos: int | None = None


def reconcile(since: datetime, until: datetime | None = None) -> Report:
    """Compares what moved at Stripe from `since` to before `until` (now) with the books.

    Raises StripeError.
    """
    report = Report(since, until or timezone.now())
    moved: dict[str, list[Movement]] = defaultdict(list)
    for movement in balance.movements(since, report.until):
        report.fee_cents += movement.fee_cents
        if movement.category in (*CHARGES, *REFUNDS, *DISPUTES):
            moved[_thing(movement)].append(movement)
        else:
            before = report.other.get(movement.category, 0)
            report.other[movement.category] = before + movement.amount_cents
    entries = _entries_of(moved.keys(), since, report.until)
    for thing, movements in moved.items():
        if thing not in entries:
            entry = _unbooked(movements[0])
            if entry is None:
                report.foreign[thing] = _sum(movements)
            else:
                entries[thing] = entry
    for thing, entry in entries.items():
        _compare(report, entry, moved.get(thing, []))
    _compare_with_ledger(report, list(entries.values()))
    return report


def raise_alerts(report: Report) -> int:
    """Has staff look at each difference, once; returns how many are new."""
    return sum(
        raise_alert(
            "reconciliation",
            f"{each.reference} {each.stripe_cents} {each.books_cents}",
            each.sentence,
        )
        for each in report.differences
    )


def _thing(movement: Movement) -> str:
    """Returns what movements belong together by: a payment; else a refund or a dispute itself."""
    is_charge = movement.category in CHARGES
    return (movement.payment_intent_id if is_charge else "") or movement.source_id


def _entries_of(things: Iterable[str], since: datetime, until: datetime) -> dict[str, _Entry]:
    """Returns what the books have about these things, and what they have of the same time."""
    named, live = list(things), client.is_live()
    time = (since, until)
    orders = Order.objects.filter(state=Order.State.PAID, is_live=live).filter(
        Q(payment_intent_id__in=named) | Q(ended_at__range=time)
    )
    refunds = Refund.objects.filter(order__is_live=live, stripe_id__isnull=False).filter(
        Q(stripe_id__in=named) | Q(ended_at__range=time)
    )
    disputes = Dispute.objects.filter(
        Q(order__is_live=live) | Q(subscription_payment__subscription__is_live=live)
    ).filter(Q(stripe_id__in=named) | Q(created_at__range=time))
    invoices = SubscriptionPayment.objects.filter(subscription__is_live=live).filter(
        Q(payment_intent_id__in=named) | Q(invoice_id__in=named) | Q(paid_at__range=time)
    )
    found = [
        *(_of_order(order) for order in orders),
        *(_of_refund(refund) for refund in refunds.select_related("order")),
        *(_of_dispute(dispute) for dispute in disputes),
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
        ledger_kinds=(Kind.TOP_UP,),
        ledger_nanos=order.credit_nanos,
    )


def _of_refund(refund: Refund) -> _Entry:
    has_left = refund.state in {Refund.State.PENDING, Refund.State.SUCCEEDED}
    return _Entry(
        id=refund.stripe_id or "",
        name=f"Refund {refund.stripe_id} of Order {refund.order.number}",
        books_cents=-(refund.amount_cents + refund.tax_cents) if has_left else 0,
        source_id=refund.stripe_id or "",
        ledger_reference=str(refund.pk),
        ledger_kinds=(Kind.REFUND, Kind.REFUND_REVERSAL, Kind.GOODWILL, Kind.GOODWILL_REVERSAL),
        ledger_nanos=0 if refund.state in Refund.CAME_TO_NOTHING else -refund.credit_nanos,
    )


def _of_dispute(dispute: Dispute) -> _Entry:
    has_left = dispute.is_withdrawn and not dispute.is_reinstated
    return _Entry(
        id=dispute.stripe_id,
        name=f"Dispute {dispute.stripe_id} of {dispute.payment}",
        books_cents=-dispute.amount_cents if has_left else 0,
        source_id=dispute.stripe_id,
        ledger_reference=dispute.stripe_id,
        ledger_kinds=(
            Kind.CLAWBACK,
            Kind.CLAWBACK_REVERSAL,
            Kind.RECEIVABLE,
            Kind.RECEIVABLE_REVERSAL,
        ),
        ledger_nanos=-dispute.credit_nanos if has_left else 0,
    )


def _of_invoice(payment: SubscriptionPayment) -> _Entry:
    return _Entry(
        id=payment.payment_intent_id or payment.invoice_id,
        name=f"Invoice {payment.invoice_id} of a plan, payment {payment.payment_intent_id}",
        books_cents=payment.amount_cents,
        source_id=payment.charge_id or "",
        ledger_reference=payment.invoice_id,
        ledger_kinds=(Kind.SUBSCRIPTION,),
    )


def _unbooked(movement: Movement) -> _Entry | None:
    """Returns what is ours and not in the books as paid; None: it is none of ours."""
    thing = _thing(movement)
    if movement.category in CHARGES:
        order = find_order(movement.order)
        if order is not None:
            name = f"Order {order.number} ({order.state} here), payment {thing}"
            return _Entry(thing, name, 0, movement.source_id)
        customer = PaymentCustomer.objects.filter(stripe_id=movement.customer_id or "-").first()
        if customer is None:
            return None
        name = f"Payment {thing} of {customer.team.slug}, for no order or plan that is known here"
        return _Entry(thing, name, 0, movement.source_id)
    payment = movement.payment_intent_id or "-"
    is_ours = (
        Order.objects.filter(payment_intent_id=payment).exists()
        or SubscriptionPayment.objects.filter(payment_intent_id=payment).exists()
    )
    kind = "Refund" if movement.category in REFUNDS else "Dispute"
    return _Entry(thing, f"{kind} {thing} of payment {payment}", 0, thing) if is_ours else None


def _compare(report: Report, entry: _Entry, movements: list[Movement]) -> None:
    """Notes what Stripe and our row say differently about one thing."""
    cents = _sum(movements)
    if cents != entry.books_cents:
        cents = _ever_moved(entry)
    report.compared += 1
    report.stripe_cents += cents
    report.books_cents += entry.books_cents
    currencies = {movement.currency for movement in movements} - {"usd"}
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
    """Notes what our rows and the ledger say differently."""
    references = [entry.ledger_reference for entry in entries if entry.ledger_reference]
    posted = _ledger_nanos(references)
    for entry in entries:
        nanos = sum(posted[kind, entry.ledger_reference] for kind in entry.ledger_kinds)
        if entry.ledger_nanos is None:
            is_right = 0 < nanos <= entry.books_cents * NANOS_PER_CENT
            should = f"something up to {cents_text(entry.books_cents)}"
        else:
            is_right = nanos == entry.ledger_nanos
            should = cents_text(entry.ledger_nanos // NANOS_PER_CENT)
        if entry.ledger_reference and not is_right:
            report.differences.append(
                Difference(
                    reference=f"ledger {entry.ledger_reference}",
                    stripe_cents=entry.books_cents,
                    books_cents=nanos // NANOS_PER_CENT,
                    sentence=f"{entry.name}: the ledger has "
                    f"{cents_text(nanos // NANOS_PER_CENT)} under {entry.ledger_reference}, where "
                    f"it should have {should}.",
                )
            )


def _ledger_nanos(references: list[str]) -> dict[tuple[str, str], int]:
    """Return what transfers took from (or gave to) Stripe's clearing, by kind and reference."""
    clearing = CreditAccount.objects.get(kind=CreditAccount.Kind.STRIPE_CLEARING).pk
    found: dict[tuple[str, str], int] = defaultdict(int)
    for side, sign in (("debit_account", 1), ("credit_account", -1)):
        rows = Transfer.objects.filter(reference__in=references, **{side: clearing})
        sums = rows.values_list("kind", "reference").annotate(Sum("amount_nanos"))
        for kind, reference, nanos in sums:
            found[kind, reference] += sign * nanos
    return found


def _ever_moved(entry: _Entry) -> int:
    """Returns the cents that moved for one thing at any time: none, if Stripe does not know it."""
    try:
        source_id = entry.source_id or payments.get_payment_intent(entry.id).charge_id
        return balance.moved_for(source_id) if source_id else 0
    except StripeRefusedError:
        return 0


def _sum(movements: list[Movement]) -> int:
    return sum(movement.amount_cents for movement in movements)
