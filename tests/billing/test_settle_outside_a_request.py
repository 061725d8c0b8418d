"""postings.settle: the end of work that outlives its request, in that work's transaction."""

import pytest
from django.db import transaction

from billing.ledger import postings
from billing.models import UsageRecord
from tests.billing.ledger_calls import make_customer, new_id

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_it_charges_as_the_relay_does_and_once():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=300)
    end = customer.end(ask, units_nanos=250, pieces=1, source="upstream")

    first, second = postings.settle(end), postings.settle(end)

    assert (first.code, first.charged_nanos, first.balance_nanos) == ("settled", 250, 750)
    assert (second.code, second.charged_nanos) == ("already_ended", 0)
    assert customer.balances == (750, 0)
    assert customer.record(ask).pieces == 1


def test_a_failure_releases_the_hold_and_says_why():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=300)

    receipt = postings.settle(customer.end(ask, outcome="upstream_error", error="No\0 birds."))

    assert receipt.code == "released"
    assert customer.balances == (1000, 0)
    assert customer.record(ask).error == "No\ufffd birds."


def test_it_is_undone_with_the_transaction_it_is_in():
    customer = make_customer(1000)
    ask = customer.admitted(amount_nanos=300)

    with transaction.atomic():
        postings.settle(customer.end(ask, units_nanos=250, source="upstream"))
        transaction.set_rollback(True)

    assert customer.balances == (1000, 300)
    assert not UsageRecord.objects.filter(pk=ask.request_id).exists()


def test_a_settlement_of_nobodys_request_is_told_so():
    customer = make_customer(1000)
    assert postings.settle(customer.end(new_id())).code == "unknown_reservation"
    customer.account.pk += 1_000_000
    assert postings.settle(customer.end(new_id())).code == "unknown_reservation"
