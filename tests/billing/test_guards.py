"""What the tables refuse whoever asks, past the functions too."""

import pytest
from django.db import IntegrityError, connection, transaction

from billing.models import CreditAccount, KeySpend, Reservation, Transfer, UsageRecord
from tests.billing.ledger_calls import Customer, admit, make_customer, new_id, settle

pytestmark = pytest.mark.django_db


def refused(sql: str, *parameters: object, match: str) -> None:
    """Assert that the database refuses a statement, and say why."""
    with pytest.raises(IntegrityError, match=match), transaction.atomic():
        run(sql, *parameters)


def run(sql: str, *parameters: object) -> None:
    """Run a statement past all that Python guards, with what is deferred to the commit."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.fixture
def customer() -> Customer:
    """A customer with 1,000 nanos and one transfer."""
    return make_customer(1000)


def test_a_transfer_is_never_changed(customer):
    refused(
        "UPDATE billing_transfer SET amount_nanos = 1 WHERE customer_id = %s",
        customer.account.pk,
        match="billing_transfer: update is refused",
    )
    assert customer.transfers[0].amount_nanos == 1000


def test_a_transfer_is_never_deleted(customer):
    refused(
        "DELETE FROM billing_transfer WHERE customer_id = %s",
        customer.account.pk,
        match="billing_transfer: delete is refused",
    )
    assert len(customer.transfers) == 1


def test_the_ledger_is_never_emptied(customer):
    run("SELECT 1")  # Nothing may be pending on a table that is emptied.
    refused("TRUNCATE billing_transfer CASCADE", match="billing_transfer: truncate is refused")


def test_nobody_but_the_owner_was_granted_changes_of_transfers():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM information_schema.role_table_grants"
            " WHERE table_name = 'billing_transfer' AND grantee = 'PUBLIC'"
        )
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("state", ["open", "released", "expired"])
def test_a_settled_reservation_stays_settled(customer, state):
    ask = customer.ask()
    admit(ask)
    settle(customer.end(ask, output_nanos=1))

    refused(
        "UPDATE billing_reservation SET state = %s WHERE id = %s",
        state,
        ask.request_id,
        match="billing_reservation: update is refused",
    )


@pytest.mark.parametrize(
    "change",
    [
        "amount_nanos = amount_nanos - 1",
        "amount_nanos = amount_nanos + 1, state = 'settled'",
        "account_id = account_id + 1",
    ],
)
def test_what_a_reservation_holds_is_not_lowered_or_moved_or_changed_at_its_end(customer, change):
    ask = customer.ask()
    admit(ask)

    refused(
        f"UPDATE billing_reservation SET {change} WHERE id = %s",
        ask.request_id,
        match="billing_reservation: update is refused",
    )


def test_an_open_reservation_is_not_deleted_but_an_ended_one_may_be(customer):
    ask = customer.ask()
    admit(ask)
    delete = "DELETE FROM billing_reservation WHERE id = %s"

    refused(delete, ask.request_id, match="billing_reservation: delete is refused")
    settle(customer.end(ask, output_nanos=1))
    run(delete, ask.request_id)

    assert not Reservation.objects.filter(pk=ask.request_id).exists()


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [
        ("held_nanos", -1, "account_held_not_negative"),
        ("held_nanos", 1001, "account_available_not_negative"),
        ("posted_nanos", -1, "account_available_not_negative"),
        ("kind", "revenue", "account_customer_has_team|account_one_of_each_platform_kind"),
    ],
)
def test_an_account_can_not_be_put_wrong(customer, column, value, constraint):
    refused(
        f"UPDATE billing_creditaccount SET {column} = %s WHERE id = %s",
        value,
        customer.account.pk,
        match=constraint,
    )


def transfer_between(debit: int, credit: int, **fields: object) -> Transfer:
    """Return a transfer that nobody saved."""
    row = {"kind": "grant", "reference": new_id(), "amount_nanos": 5} | fields
    return Transfer(debit_account_id=debit, credit_account_id=credit, **row)


def save(transfer: Transfer) -> None:
    """Save a transfer past the functions, and check what is deferred to the commit."""
    transfer.save()
    run("SELECT 1")


def test_a_transfer_can_not_be_put_wrong(customer):
    own = customer.account.pk
    revenue = CreditAccount.objects.get(kind="revenue").pk
    (first,) = customer.transfers
    wrong = {
        "transfer_amount_positive": transfer_between(revenue, own, amount_nanos=0),
        "transfer_between_two_accounts": transfer_between(own, own),
        "transfer_once": transfer_between(revenue, own, reference=first.reference),
        "transfer_sequence": transfer_between(revenue, own, customer_id=own, sequence=1),
        "foreign key": transfer_between(0, own),
    }

    for constraint, transfer in wrong.items():
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            save(transfer)


def test_a_usage_record_accounts_for_its_cost(customer):
    ask = customer.ask()
    admit(ask)
    settle(customer.end(ask, output_nanos=7))
    records = UsageRecord.objects.filter(request_id=ask.request_id)

    for fields, constraint in [
        ({"charged_nanos": 6}, "usage_cost_accounted_for"),
        ({"charged_nanos": 8, "written_off_nanos": -1}, "usage_not_negative"),
    ]:
        with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
            records.update(**fields)


def test_a_key_never_holds_less_than_nothing(customer):
    admit(customer.ask())

    with pytest.raises(IntegrityError, match="keyspend_held_not_negative"), transaction.atomic():
        KeySpend.objects.filter(key=customer.key).update(held_nanos=-1)


def test_the_minutes_are_not_logged():
    """They change with every request and are worth nothing after a crash."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, relpersistence FROM pg_class WHERE relname IN"
            " ('billing_ratewindow', 'billing_transfer') ORDER BY relname"
        )
        assert cursor.fetchall() == [("billing_ratewindow", "u"), ("billing_transfer", "p")]
