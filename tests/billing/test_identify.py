"""billing_identify: who a key belongs to, with nothing counted."""

import time

import pytest
from django.utils import timezone

from tests.billing.ledger_calls import (
    admit,
    identify,
    make_customer,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_identify_tells_the_limits_and_counts_nothing():
    customer = make_customer(1000, requests_per_minute=5, tokens_per_minute=50)
    admit(customer.ask(tokens=20))

    admissions = [identify(customer) for _ in range(2)]

    for admission in admissions:
        assert admission.code == "identified"
        assert (admission.requests_limit, admission.requests_remaining) == (5, 4)
        assert (admission.tokens_limit, admission.tokens_remaining) == (50, 30)
        assert admission.available_nanos == 900
        assert admission.reset_at == pytest.approx(time.time() + 60, abs=3)
        assert (admission.key_id, admission.account_id, admission.team_id) == (
            customer.key.pk,
            customer.account.pk,
            customer.team.pk,
        )


def test_identify_refuses_as_admission_does():
    customer = make_customer(0, scope="management")
    assert identify(customer).code == "wrong_scope"
    customer.change_key(scope="inference")
    customer.change_team(suspended_at=timezone.now())
    assert identify(customer).code == "team_suspended"
