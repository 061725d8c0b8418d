"""billing_admit: models with a limit of their own for each key."""

import time
from datetime import timedelta

import pytest
from django.utils import timezone

from billing.ledger.gate import AdmissionResult
from billing.models import RateWindow
from tests.billing.ledger_calls import Customer, admit, make_customer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def limited(customer: Customer, **changes: object) -> AdmissionResult:
    """Return the admission on one request for a model with two requests a minute."""
    return admit(customer.ask(**{"model_requests_per_minute": 2} | changes))[0]


def test_a_models_own_limit_holds_for_each_key_beside_the_keys():
    customer = make_customer(10_000, requests_per_minute=10)

    admissions = [limited(customer) for _ in range(3)]

    assert [(v.code, v.requests_limit, v.requests_remaining) for v in admissions] == [
        ("admitted", 2, 1),
        ("admitted", 2, 0),
        ("rate_limited_requests", 2, 0),
    ]
    assert 1 <= admissions[2].retry_after_seconds <= 60
    assert abs(admissions[2].reset_at - time.time() - admissions[2].retry_after_seconds) <= 2
    # Other models and other keys are not affected; the headers tell of the key's limit again.
    assert limited(customer, model="other").code == "admitted"
    (free,) = admit(customer.ask(model="unlimited"))
    assert (free.code, free.requests_limit, free.requests_remaining) == ("admitted", 10, 6)
    assert limited(customer.another_key()).code == "admitted"
    assert RateWindow.objects.get(key=customer.key).model_requests == {"small": 2, "other": 1}


def test_of_two_limits_the_nearer_one_binds():
    customer = make_customer(10_000, requests_per_minute=1)

    first, second = limited(customer), limited(customer)

    assert (first.code, first.requests_limit, first.requests_remaining) == ("admitted", 1, 0)
    assert (second.code, second.requests_limit) == ("rate_limited_requests", 1)


def test_a_models_own_limit_is_exact_within_a_batch():
    customer = make_customer(10_000)

    admissions = admit(*(customer.ask(model_requests_per_minute=2) for _ in range(5)))

    assert sorted(v.code for v in admissions) == ["admitted"] * 2 + ["rate_limited_requests"] * 3
    assert RateWindow.objects.get(key=customer.key).model_requests == {"small": 2}


def test_a_models_count_ends_with_the_keys_minute():
    customer = make_customer(10_000)
    limited(customer), limited(customer)
    past = timezone.now() - timedelta(seconds=61)
    RateWindow.objects.filter(key=customer.key).update(started_at=past)

    assert limited(customer).code == "admitted"
    assert RateWindow.objects.get(key=customer.key).model_requests == {"small": 1}


def test_a_refused_request_counts_nothing_against_the_models_limit():
    customer = make_customer(50)

    assert limited(customer).code == "insufficient_quota"
    assert not RateWindow.objects.filter(key=customer.key).exists()
