"""The independent audit (tests/audit.sql) passes right books and finds each seeded corruption."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import Plan
from billing.ledger import expiry, postings
from billing.models import (
    Dispute,
    Order,
    PlanPrice,
    PlanRefund,
    Refund,
    Subscription,
    SubscriptionPayment,
    Transfer,
)
from tests import audit
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, make_customer, settle, sweep, top_up
from tests.billing.test_check_ledger import CONSTRAINTS, LINES, LINES_OF_TIERS, change, loss

pytestmark = pytest.mark.django_db

DOLLAR = 10**9


@pytest.fixture
def customer() -> Customer:
    """A customer of every fate: requests, gifts, payments, refunds, disputes and a plan."""
    customer = make_customer(30 * DOLLAR)
    account = customer.account
    now = timezone.now()
    postings.grant(account, 4 * DOLLAR, reference="gift 9", expires_at=now + timedelta(days=9))
    first = order(customer, "pi_1", 1000)
    settle(customer.end(customer.admitted(), output_nanos=36, units_nanos=4, lines=LINES))
    settle(customer.end(customer.admitted(), output_nanos=42, lines=LINES_OF_TIERS))
    settle(customer.end(customer.admitted(), output_nanos=1000))
    settle(customer.end(customer.admitted(amount_nanos=10), output_nanos=50 * DOLLAR))
    second = order(customer, "pi_2", 2000)
    settle(customer.end(customer.admitted(amount_nanos=10), output_nanos=13 * DOLLAR))
    order(customer, "pi_3", 500)
    postings.grant(account, 4 * DOLLAR, reference="gift -1", expires_at=now - timedelta(days=1))
    expiry.expire_lots()
    customer.admitted(hold_seconds=-1)
    sweep()
    customer.admitted(amount_nanos=55)
    refund = Refund.objects.create(
        order=second, amount_cents=100, credit_nanos=DOLLAR, reason="x", state="succeeded"
    )
    postings.refund(account, DOLLAR, reference=str(refund.pk), credit=top_up("pi_2"))
    disputed(customer, "du_1", first)
    plan(customer)
    return customer


def order(customer: Customer, payment: str, cents: int) -> Order:
    """Book a paid order."""
    postings.top_up(customer.account, cents * 10**7, reference=payment)
    return Order.objects.create(
        team=customer.team, amount_cents=cents, credit_nanos=cents * 10**7, is_live=False,
        state="paid", payment_intent_id=payment, ended_at=timezone.now(),
    )  # fmt: skip


def disputed(customer: Customer, number: str, source: Order) -> None:
    """Book a dispute that is won in part, in two steps, and whose rest is owed."""
    owed = source.credit_nanos
    credit = top_up(source.payment_intent_id or "")
    postings.claw_back(customer.account, owed, reference=number, credit=credit)
    for total in (DOLLAR, 7 * DOLLAR):
        postings.reverse_claw_back(customer.account, reference=number, up_to_nanos=total)
    Dispute.objects.create(
        stripe_id=number, order=source, amount_cents=source.amount_cents, credit_nanos=owed,
        is_withdrawn=True, reinstated_cents=700, status="won",
    )  # fmt: skip


def plan(customer: Customer) -> None:
    """Book a plan's payment with its tax, and a refund of half of it."""
    price = PlanPrice.objects.create(
        plan=Plan.objects.create(name="pro", title="Pro"), price_cents=2000,
        credit_nanos=8 * DOLLAR, credit_days=31, is_live=False,
    )  # fmt: skip
    payment = SubscriptionPayment.objects.create(
        invoice_id="in_1", amount_cents=2200, tax_cents=200, credit_nanos=8 * DOLLAR,
        subscription=Subscription.objects.create(team=customer.team, price=price, is_live=False),
    )  # fmt: skip
    postings.book_subscription(20 * DOLLAR, reference="in_1")
    postings.grant(customer.account, 8 * DOLLAR, reference="subscription:in_1")
    postings.reverse_subscription(10 * DOLLAR, reference="re_1")
    postings.take_back_grant(
        customer.account, 4 * DOLLAR, reference="re_1", grant_reference="subscription:in_1",
        most_owed_nanos=10 * DOLLAR,
    )  # fmt: skip
    PlanRefund.objects.create(
        stripe_id="re_1", payment=payment, amount_cents=1100, revenue_nanos=10 * DOLLAR,
        credit_nanos=4 * DOLLAR, owed_nanos=0, state="succeeded",
    )  # fmt: skip


@pytest.fixture
def unguarded(customer: Customer) -> Iterator[None]:
    """Take triggers and constraints away until the test's transaction is rolled back."""
    more = [("creditlot", "lot_within_its_amount"), ("transfer", "transfer_once")]
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET session_replication_role = replica")
        for table, constraint in [*CONSTRAINTS, *more]:
            cursor.execute(f"ALTER TABLE billing_{table} DROP CONSTRAINT {constraint}")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = origin")


ACCOUNT, OWN = "id = {account}", "account_id = {account}"
LINED = OWN + " AND lines <> '[]'"
TIERED = OWN + " AND lines->0->>7 = 'priority'"
USAGE = (
    "id = (SELECT max(id) FROM billing_transfer WHERE customer_id = {account} AND kind = 'usage')"
)
LOT = "transfer_id = (SELECT id FROM billing_transfer WHERE kind = 'top_up' AND reference = 'pi_2')"
LOTS = "transfer_id IN (SELECT id FROM billing_transfer WHERE reference IN ('pi_2', 'pi_3'))"
SWAP = "remaining_nanos = remaining_nanos + CASE WHEN amount_nanos = 20000000000 THEN 1 ELSE -1 END"


def named(kind: str, reference: str) -> str:
    """Return a condition: one transfer."""
    return f"kind = '{kind}' AND reference = '{reference}'"


def copy_of(where: str, **changes: str) -> str:
    """Return SQL that posts a transfer once more."""
    names = [
        *("kind", "reference", "debit_account_id", "credit_account_id", "amount_nanos"),
        *("customer_id", "owner_id", "sequence", "balance_nanos", "memo", "created_at"),
    ]
    values = ", ".join(changes.get(name, name) for name in names)
    return (
        f"INSERT INTO billing_transfer ({', '.join(names)})"
        f" SELECT {values} FROM billing_transfer WHERE {where}"
    )


SETTLED = OWN + " AND state = 'settled'"
NEXT = {"sequence": "sequence + 1000"}
CORRUPTIONS = [
    ("balance", change("creditaccount", "posted_nanos = posted_nanos + 1", ACCOUNT)),
    ("balance", change("creditaccount", "held_nanos = posted_nanos + 1", ACCOUNT)),
    ("balance", change("creditaccount", "posted_nanos = 5", "kind = 'revenue'")),
    ("balance", loss("transfer", USAGE)),
    ("sides", change("transfer", "amount_nanos = -amount_nanos", named("grant", "gift 9"))),
    ("sides", change("transfer", "kind = 'expiry'", USAGE)),
    ("sides", change("transfer", "customer_id = NULL", USAGE)),
    ("sides", change("transfer", "owner_id = {other}", USAGE)),
    ("sides", change("transfer", "credit_account_id = {other}", USAGE)),
    ("reference", copy_of(USAGE, **NEXT)),
    ("sequence", change("transfer", "sequence = sequence + 900", USAGE)),
    ("sequence", change("transfer", "balance_nanos = balance_nanos + 1", named("top_up", "pi_1"))),
    ("sequence", change("creditaccount", "last_sequence = last_sequence + 1", ACCOUNT)),
    ("hold", change("creditaccount", "held_nanos = held_nanos + 1", ACCOUNT)),
    ("hold", change("keyspend", "held_nanos = 0", "key_id = {key}")),
    ("hold", loss("reservation", OWN + " AND state = 'open'")),
    ("calls", change("creditaccount", "open_calls = open_calls + 1", ACCOUNT)),
    ("calls", change("reservation", "is_call = false", OWN + " AND state = 'open'")),
    ("end", loss("usagerecord", OWN)),
    ("end", change("usagerecord", "key_id = 0", OWN)),
    ("end", change("reservation", "state = 'open', ended_at = NULL", SETTLED)),
    ("charge", change("usagerecord", "charged_nanos = charged_nanos + 1", OWN)),
    ("charge", change("usagerecord", "written_off_nanos = 0", OWN + " AND written_off_nanos > 0")),
    ("charge", change("usagerecord", "input_nanos = input_nanos + 1", OWN)),
    ("charge", change("usagerecord", "account_id = {other}", OWN)),
    ("charge", loss("transfer", "kind = 'write_off'")),
    ("line", change("usagerecord", "lines = lines - 1", LINED)),
    ("line", change("usagerecord", "lines = jsonb_set(lines, '{{0,4}}', '35')", LINED)),
    ("line", change("usagerecord", "lines = jsonb_set(lines, '{{0,3}}', '0')", LINED)),
    ("line", change("usagerecord", "lines = jsonb_set(lines, '{{0,5}}', '1200000')", LINED)),
    ("line", change("usagerecord", "lines = lines #- '{{0,5}}'", TIERED)),
    ("line", change("usagerecord", "lines = jsonb_set(lines, '{{0,5}}', '1300000')", TIERED)),
    ("budget", change("keyspend", "total_nanos = total_nanos - 1", "key_id = {key}")),
    ("budget", change("keyspend", "month_nanos = month_nanos - 1", "key_id = {key}")),
    ("budget", change("keyspend", "day_nanos = 0", "key_id = {key}")),
    ("lot", change("creditlot", "remaining_nanos = remaining_nanos - 1", LOT)),
    ("lot", change("creditlot", SWAP, LOTS)),
    ("lot", change("creditlot", "is_paid = false", LOT)),
    ("lot", change("creditlot", "account_id = {other}", LOT)),
    ("lot", change("creditlot", "expired_nanos = expired_nanos + 1", "expired_nanos > 0")),
    ("lot", loss("creditlot", LOT)),
    ("lot", loss("lotmovement", "amount_nanos > 0")),
    ("lot", change("lotmovement", "amount_nanos = amount_nanos - 1", "amount_nanos < 0")),
    ("reversal", copy_of(named("clawback_reversal", "du_1"), reference="'du_1:9'",
                         amount_nanos="9000000000", **NEXT)),
    ("reversal", copy_of(named("revenue_reversal", "re_1"), kind="'revenue_reinstatement'",
                         amount_nanos="amount_nanos + 1")),
    ("stripe", change("order", "amount_cents = amount_cents + 1", "payment_intent_id = 'pi_3'")),
    ("stripe", loss("order", "payment_intent_id = 'pi_3'")),
    ("stripe", change("refund", "state = 'failed'", "credit_nanos = 1000000000")),
    ("stripe", change("dispute", "reinstated_cents = 400", "stripe_id = 'du_1'")),
    ("stripe", change("dispute", "is_reinstated = true", "stripe_id = 'du_1'")),
    ("stripe", change("subscriptionpayment", "tax_cents = 0", "invoice_id = 'in_1'")),
    ("stripe", loss("transfer", named("revenue_reversal", "re_1"))),
    ("stripe", copy_of(named("subscription", "in_1"), reference="'in_2'")),
]  # fmt: skip


def test_right_books_have_no_finding(customer: Customer) -> None:
    assert broken_invariants() == {}
    assert audit.findings(connection) == []
    kinds = set(Transfer.objects.values_list("kind", flat=True))
    assert kinds >= {"expiry", "write_off", "refund", "clawback", "clawback_reversal"}


@pytest.mark.parametrize(("name", "corruption"), CORRUPTIONS)
def test_a_corruption_is_found(
    customer: Customer, unguarded: None, name: str, corruption: str
) -> None:
    names = {"account": customer.account.pk, "key": customer.key.pk}
    with connection.cursor() as cursor:
        cursor.execute(corruption.format(other=make_customer().account.pk, **names))
        assert cursor.rowcount

    assert name in {check for check, _ in audit.findings(connection)}


def test_what_the_products_own_check_does_not_see_is_found(
    customer: Customer, unguarded: None
) -> None:
    """Two lots of one kind that swapped what is left of them: every sum is right."""
    with connection.cursor() as cursor:
        cursor.execute(change("creditlot", SWAP, LOTS))
        cursor.execute("SET session_replication_role = origin")

    assert broken_invariants() == {}
    assert {check for check, _ in audit.findings(connection)} == {"lot"}
