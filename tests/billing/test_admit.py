"""billing_admit: who may spend, how fast, and how much is held."""

from datetime import timedelta

import pytest
from django.utils import timezone

from billing.models import KeySpend, RateWindow, Reservation
from tests.billing.ledger_calls import (
    admit,
    identify,
    make_customer,
    new_id,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def test_a_request_holds_its_amount():
    customer = make_customer(1000)
    ask = customer.ask(amount_nanos=300)

    (admission,) = admit(ask)

    assert admission.code == "admitted"
    assert admission.amount_nanos == 300
    assert admission.available_nanos == 700
    assert (admission.key_id, admission.account_id, admission.team_id) == (
        customer.key.pk,
        customer.account.pk,
        customer.team.pk,
    )
    assert admission.catalogue_version == customer.catalogue_version
    assert customer.balances == (1000, 300)
    assert customer.spend.held_nanos == 300
    reservation = customer.reservation(ask)
    assert reservation.state == Reservation.State.OPEN
    assert reservation.amount_nanos == 300
    assert reservation.expires_at - reservation.created_at == timedelta(seconds=600)


@pytest.mark.parametrize("why", ["unknown", "revoked", "expired"])
def test_a_key_that_opens_nothing_is_invalid_whatever_the_reason(why):
    customer = make_customer(1000)
    if why == "unknown":
        customer.key.digest = b"\1" * 32
    else:
        setattr(customer.key, f"{why.removesuffix('d')}d_at", timezone.now() - timedelta(seconds=1))
        if why == "expired":
            customer.key.expires_at = timezone.now() - timedelta(seconds=1)
        customer.key.save()

    assert customer.code() == "invalid_api_key"
    assert identify(customer) is None


def test_a_key_that_expires_later_is_valid():
    customer = make_customer(1000, expires_at=timezone.now() + timedelta(minutes=1))

    assert customer.code() == "admitted"


def test_a_team_without_an_account_has_no_valid_key():
    customer = make_customer()
    other = make_customer()
    type(other.account).objects.filter(pk=other.account.pk).delete()
    other.account = customer.account

    assert other.code() == "invalid_api_key"


def test_any_of_the_digests_finds_the_key():
    customer = make_customer(1000)
    ask = customer.ask()

    (admission,) = admit(customer.ask(digests=["00" * 32, *ask.digests]))

    assert admission.code == "admitted"
    assert admission.key_id == customer.key.pk


# Each refusal, in the order in which they win: the customer below has every one of these faults,
# and loses one after the other.
FAULTS = [
    ("wrong_scope", lambda c: c.change_key(scope="inference")),
    ("team_suspended", lambda c: c.change_team(suspended_at=None)),
    ("stale_catalogue", lambda c: setattr(c, "catalogue_version", c.catalogue_version + 1)),
    ("model_not_allowed", lambda c: c.change_key(allowed_models=["small"])),
    ("rate_limited_requests", lambda c: c.change_key(requests_per_minute=5)),
    ("rate_limited_tokens", lambda c: c.change_key(tokens_per_minute=50)),
    ("budget_exceeded", lambda c: c.change_key(budget_total_nanos=None)),
    ("insufficient_quota", lambda c: None),
]


def test_refusals_come_in_a_fixed_order():
    customer = make_customer(
        50,
        scope="management",
        allowed_models=["large"],
        requests_per_minute=0,
        tokens_per_minute=9,
        budget_total_nanos=10,
    )
    customer.change_team(suspended_at=timezone.now())
    customer.catalogue_version -= 1

    codes = []
    for _expected, amend in FAULTS:
        codes.append(customer.code())
        amend(customer)

    assert codes == [expected for expected, _amend in FAULTS]
    assert customer.code(amount_nanos=50) == "admitted"


def test_a_key_for_some_models_is_refused_the_others():
    customer = make_customer(1000, allowed_models=["small", "large"])

    assert customer.code(model="large") == "admitted"
    assert customer.code(model="larger") == "model_not_allowed"


def test_a_refused_request_counts_nothing():
    customer = make_customer(50)

    for _ in range(3):
        assert customer.code() == "insufficient_quota"

    assert customer.balances == (50, 0)
    assert not Reservation.objects.filter(account=customer.account).exists()
    assert not RateWindow.objects.filter(key=customer.key).exists()
    assert not KeySpend.objects.filter(key=customer.key).exists()


def test_a_refused_request_counts_nothing_beside_one_that_is_admitted():
    """Whoever shares the batch must make no difference."""
    poor, rich = make_customer(50), make_customer(1000)

    admissions = admit(poor.ask(), rich.ask())

    assert [admission.code for admission in admissions] == ["insufficient_quota", "admitted"]
    assert not RateWindow.objects.filter(key=poor.key).exists()
    assert not KeySpend.objects.filter(key=poor.key).exists()
    assert KeySpend.objects.get(key=rich.key).last_used_at is not None


def test_a_hold_is_lowered_to_what_the_balance_affords():
    customer = make_customer(70)

    (admission,) = admit(customer.ask(amount_nanos=100, minimum_nanos=70))

    assert (admission.code, admission.amount_nanos) == ("admitted", 70)
    assert customer.balances == (70, 70)


def test_a_hold_is_not_lowered_below_the_least_that_makes_sense():
    customer = make_customer(70)

    (admission,) = admit(customer.ask(amount_nanos=100, minimum_nanos=71))

    assert (admission.code, admission.amount_nanos) == ("insufficient_quota", 0)
    assert admission.available_nanos == 70


def test_what_costs_nothing_needs_no_credits():
    customer = make_customer(0, budget_total_nanos=0)

    (admission,) = admit(customer.ask(amount_nanos=0))

    assert (admission.code, admission.amount_nanos) == ("admitted", 0)
    assert customer.code(amount_nanos=1) == "insufficient_quota"


def test_the_last_nano_is_held_once():
    customer = make_customer(1)

    codes = [
        admission.code for admission in admit(*[customer.ask(amount_nanos=1) for _ in range(9)])
    ]

    assert sorted(codes) == ["admitted"] + ["insufficient_quota"] * 8


def test_a_repeat_of_an_admission_finds_it_and_holds_nothing_more():
    customer = make_customer(150, requests_per_minute=1)
    ask = customer.ask(amount_nanos=100, minimum_nanos=50)

    first, second = admit(ask)[0], admit(ask)[0]

    assert (first.code, second.code) == ("admitted", "admitted")
    assert first.amount_nanos == second.amount_nanos == 100
    assert customer.balances == (150, 100)
    assert RateWindow.objects.get(key=customer.key).requests == 1


def test_a_repeat_within_one_batch_is_held_once():
    customer = make_customer(150)
    ask, neighbour = customer.ask(), make_customer(100)

    admissions = admit(ask, neighbour.ask(), ask)

    assert [admission.code for admission in admissions] == ["admitted"] * 3
    assert customer.balances == (150, 100)
    assert neighbour.balances == (100, 100)


def test_an_id_of_another_keys_request_admits_nobody():
    """Else the second key's request would be served on the first one's hold."""
    first, second = make_customer(1000), make_customer(0)
    request_id = new_id()
    admit(first.ask(request_id=request_id))

    (admission,) = admit(second.ask(request_id=request_id))

    assert admission.code == "insufficient_quota"
