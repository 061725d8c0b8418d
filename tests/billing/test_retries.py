"""The client's retry of a request that did not complete: recognized by its key and its body."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from billing.models import UsageRecord
from tests.billing.ledger_calls import Customer, make_customer, make_key, settle

pytestmark = pytest.mark.django_db

BODY, OTHER = "a" * 32, "b" * 32


def ended(customer: Customer, **end: Any) -> UsageRecord:
    """Admit a request, end it, and return its record."""
    ask = customer.admitted()
    settle(customer.end(ask, **{"body_digest": BODY, **end}))
    return customer.record(ask)


@pytest.mark.parametrize(
    "outcome", ["upstream_error", "upstream_timeout", "client_closed", "empty", "internal_error"]
)
def test_the_same_body_after_a_request_that_did_not_complete_is_its_retry(outcome: str):
    customer = make_customer(1000)
    failed = ended(customer, outcome=outcome, status=502)
    retry = ended(customer)
    assert (failed.body_digest, failed.retry_of) == (BODY, None)
    assert (retry.body_digest, retry.retry_of) == ("", failed.request_id)


def test_a_retry_that_fails_too_is_retried_by_the_next():
    customer = make_customer(1000)
    first = ended(customer, outcome="upstream_error")
    UsageRecord.objects.update(created_at=F("created_at") - timedelta(seconds=9))
    second = ended(customer, outcome="upstream_error")
    third = ended(customer)
    assert (second.retry_of, third.retry_of) == (first.request_id, second.request_id)


def test_nothing_else_is_a_retry():
    customer, another = make_customer(1000), make_customer(1000)
    ended(customer, body_digest=OTHER)  # completed
    assert ended(customer, body_digest=OTHER).retry_of is None
    ended(customer, outcome="upstream_error")
    assert ended(customer, body_digest=OTHER).retry_of is None
    assert ended(another).retry_of is None
    customer.key = make_key(customer.team)
    assert ended(customer).retry_of is None


def test_requests_without_a_body_are_no_retries_of_each_other():
    customer = make_customer(1000)
    ended(customer, outcome="upstream_error", body_digest="")
    assert ended(customer, body_digest="").retry_of is None


@pytest.mark.parametrize(
    ("ago_seconds", "latency_seconds", "is_retry"),
    [(299, 0, True), (301, 0, False), (301, 5, True), (4, 5, False), (6, 5, True)],
)
def test_a_retry_begins_after_the_end_of_what_it_repeats_and_within_five_minutes(
    ago_seconds: int, latency_seconds: int, is_retry: bool
):
    customer = make_customer(1000)
    ended(customer, outcome="upstream_error")
    UsageRecord.objects.update(created_at=F("created_at") - timedelta(seconds=ago_seconds))
    found = ended(customer, latency_ms=latency_seconds * 1000)
    assert (found.retry_of is not None) == is_retry
