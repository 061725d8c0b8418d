"""billing_admit: who may spend, how fast, and how much is held."""

import time
from datetime import date, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from billing.models import CatalogueVersion, KeySpend, RateWindow, Reservation
from tests.billing.customers import (
    Customer,
    admit,
    connect,
    identify,
    make_customer,
    new_id,
    settle,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]


def code(customer: Customer, **changes: object) -> str:
    """Returns the verdict's code for one request."""
    return admit(customer.ask(**changes))[0].code


def test_a_request_holds_its_amount():
    customer = make_customer(1000)
    ask = customer.ask(amount_nanos=300)

    (verdict,) = admit(ask)

    assert verdict.code == "admitted"
    assert verdict.amount_nanos == 300
    assert verdict.available_nanos == 700
    assert (verdict.key_id, verdict.account_id, verdict.team_id) == (
        customer.key.pk,
        customer.account.pk,
        customer.team.pk,
    )
    assert verdict.catalogue_version == customer.catalogue_version
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

    assert code(customer) == "invalid_api_key"
    assert identify(customer) is None


def test_a_key_that_expires_later_is_valid():
    customer = make_customer(1000, expires_at=timezone.now() + timedelta(minutes=1))

    assert code(customer) == "admitted"


def test_a_team_without_an_account_has_no_valid_key():
    customer = make_customer()
    other = make_customer()
    type(other.account).objects.filter(pk=other.account.pk).delete()
    other.account = customer.account

    assert code(other) == "invalid_api_key"


def test_any_of_the_digests_finds_the_key():
    customer = make_customer(1000)
    ask = customer.ask()

    (verdict,) = admit(customer.ask(digests=["00" * 32, *ask.digests]))

    assert verdict.code == "admitted"
    assert verdict.key_id == customer.key.pk


# Each refusal, in the order in which they win: the customer below has every one of these faults,
# and loses one after the other.
FAULTS = [
    ("wrong_scope", lambda c: change_key(c, scope="inference")),
    ("team_suspended", lambda c: change_team(c, suspended_at=None)),
    ("stale_catalogue", lambda c: setattr(c, "catalogue_version", c.catalogue_version + 1)),
    ("model_not_allowed", lambda c: change_key(c, allowed_models=["small"])),
    ("rate_limited_requests", lambda c: change_key(c, requests_per_minute=5)),
    ("rate_limited_tokens", lambda c: change_key(c, tokens_per_minute=50)),
    ("budget_exceeded", lambda c: change_key(c, budget_total_nanos=None)),
    ("insufficient_quota", lambda c: None),
]


def change_key(customer: Customer, **fields: object) -> None:
    """Changes the key's row."""
    type(customer.key).objects.filter(pk=customer.key.pk).update(**fields)


def change_team(customer: Customer, **fields: object) -> None:
    """Changes the team's row."""
    type(customer.team).objects.filter(pk=customer.team.pk).update(**fields)


def test_refusals_come_in_a_fixed_order():
    customer = make_customer(
        50,
        scope="management",
        allowed_models=["large"],
        requests_per_minute=0,
        tokens_per_minute=9,
        budget_total_nanos=10,
    )
    change_team(customer, suspended_at=timezone.now())
    customer.catalogue_version -= 1

    codes = []
    for _expected, amend in FAULTS:
        codes.append(code(customer))
        amend(customer)

    assert codes == [expected for expected, _amend in FAULTS]
    assert code(customer, amount_nanos=50) == "admitted"


def test_a_key_for_some_models_is_refused_the_others():
    customer = make_customer(1000, allowed_models=["small", "large"])

    assert code(customer, model="large") == "admitted"
    assert code(customer, model="larger") == "model_not_allowed"


def test_a_refused_request_counts_nothing():
    customer = make_customer(50)

    for _ in range(3):
        assert code(customer) == "insufficient_quota"

    assert customer.balances == (50, 0)
    assert not Reservation.objects.filter(account=customer.account).exists()
    assert not RateWindow.objects.filter(key=customer.key).exists()
    assert not KeySpend.objects.filter(key=customer.key).exists()


def test_a_refused_request_counts_nothing_beside_one_that_is_admitted():
    """Whoever shares the batch must make no difference."""
    poor, rich = make_customer(50), make_customer(1000)

    verdicts = admit(poor.ask(), rich.ask())

    assert [verdict.code for verdict in verdicts] == ["insufficient_quota", "admitted"]
    assert not RateWindow.objects.filter(key=poor.key).exists()
    assert not KeySpend.objects.filter(key=poor.key).exists()
    assert KeySpend.objects.get(key=rich.key).last_used_at is not None


def test_requests_above_the_minutes_limit_are_refused_until_it_ends():
    customer = make_customer(10_000, requests_per_minute=3)

    verdicts = [admit(customer.ask())[0] for _ in range(5)]

    assert [verdict.code for verdict in verdicts] == ["admitted"] * 3 + [
        "rate_limited_requests"
    ] * 2
    assert [verdict.requests_remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert {verdict.requests_limit for verdict in verdicts} == {3}
    assert [verdict.retry_after_seconds for verdict in verdicts] == [0, 0, 0, 60, 60]

    age_window(customer, seconds=59)
    (refused,) = admit(customer.ask())
    assert (refused.code, refused.retry_after_seconds) == ("rate_limited_requests", 1)
    age_window(customer, seconds=1)
    (fresh,) = admit(customer.ask())
    assert (fresh.code, fresh.requests_remaining) == ("admitted", 2)


def age_window(customer: Customer, seconds: int) -> None:
    """Lets the key's minute have begun earlier."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_ratewindow SET started_at = started_at - make_interval(secs => %s)"
            " WHERE key_id = %s",
            [seconds, customer.key.pk],
        )


def test_tokens_above_the_minutes_limit_are_refused():
    customer = make_customer(10_000, tokens_per_minute=100)

    first, second, third = (admit(customer.ask(tokens=n))[0] for n in (60, 41, 40))

    assert (first.code, first.tokens_remaining, first.tokens_limit) == ("admitted", 40, 100)
    assert (second.code, second.tokens_remaining) == ("rate_limited_tokens", 40)
    assert (second.retry_after_seconds, second.amount_nanos) == (60, 0)
    assert (third.code, third.tokens_remaining) == ("admitted", 0)


def test_a_request_larger_than_the_minutes_limit_is_never_admitted():
    customer = make_customer(10_000, tokens_per_minute=100)

    assert code(customer, tokens=101) == "rate_limited_tokens"
    assert code(customer, tokens=100) == "admitted"


def test_the_reset_is_the_end_of_the_minute_that_the_first_request_began():
    customer = make_customer(10_000)

    (first,) = admit(customer.ask())
    age_window(customer, seconds=20)
    (second,) = admit(customer.ask())

    assert first.reset_at == pytest.approx(time.time() + 60, abs=3)
    assert second.reset_at == first.reset_at - 20


def test_limits_that_the_key_leaves_open_are_the_plans():
    customer = make_customer(10_000, requests_per_minute=None, tokens_per_minute=None)
    customer.team.plan.requests_per_minute = 2
    customer.team.plan.tokens_per_minute = 77
    customer.team.plan.save()
    customer.catalogue_version = CatalogueVersion.objects.get(pk=1).version  # plans are part of it

    (verdict,) = admit(customer.ask())

    assert (verdict.requests_limit, verdict.tokens_limit) == (2, 77)
    assert (verdict.requests_remaining, verdict.tokens_remaining) == (1, 67)


def test_keys_of_one_account_share_its_balance_but_not_their_minutes():
    customer = make_customer(250, requests_per_minute=1)
    other = customer.another_key(requests_per_minute=5)

    verdicts = admit(customer.ask(), customer.ask(), other.ask(), other.ask())

    codes = [verdict.code for verdict in verdicts]
    assert sorted(codes[:2]) == ["admitted", "rate_limited_requests"]
    assert sorted(codes[2:]) == ["admitted", "insufficient_quota"]
    assert customer.balances == (250, 200)


def test_a_hold_is_lowered_to_what_the_balance_affords():
    customer = make_customer(70)

    (verdict,) = admit(customer.ask(amount_nanos=100, minimum_nanos=70))

    assert (verdict.code, verdict.amount_nanos) == ("admitted", 70)
    assert customer.balances == (70, 70)


def test_a_hold_is_not_lowered_below_the_least_that_makes_sense():
    customer = make_customer(70)

    (verdict,) = admit(customer.ask(amount_nanos=100, minimum_nanos=71))

    assert (verdict.code, verdict.amount_nanos) == ("insufficient_quota", 0)
    assert verdict.available_nanos == 70


def test_a_hold_is_lowered_to_what_the_budget_leaves():
    customer = make_customer(1000, budget_total_nanos=60)

    (verdict,) = admit(customer.ask(amount_nanos=100, minimum_nanos=1))

    assert (verdict.code, verdict.amount_nanos) == ("admitted", 60)
    assert customer.spend.held_nanos == 60


def test_what_costs_nothing_needs_no_credits():
    customer = make_customer(0, budget_total_nanos=0)

    (verdict,) = admit(customer.ask(amount_nanos=0))

    assert (verdict.code, verdict.amount_nanos) == ("admitted", 0)
    assert code(customer, amount_nanos=1) == "insufficient_quota"


def test_the_last_nano_is_held_once():
    customer = make_customer(1)

    codes = [verdict.code for verdict in admit(*[customer.ask(amount_nanos=1) for _ in range(9)])]

    assert sorted(codes) == ["admitted"] + ["insufficient_quota"] * 8


@pytest.mark.parametrize("budget", ["day", "month", "total"])
def test_a_budget_is_held_and_spent_to_the_nano(budget):
    customer = make_customer(10_000, **{f"budget_{budget}_nanos": 250})
    first, second = customer.ask(), customer.ask()

    assert [verdict.code for verdict in admit(first, second)] == ["admitted"] * 2
    assert code(customer) == "budget_exceeded"
    settle(customer.end(first, output_nanos=40))
    assert code(customer, amount_nanos=111) == "budget_exceeded"
    assert code(customer, amount_nanos=110) == "admitted"
    assert code(customer, amount_nanos=1) == "budget_exceeded"


def test_the_least_of_the_budgets_counts():
    customer = make_customer(
        10_000, budget_day_nanos=500, budget_month_nanos=90, budget_total_nanos=800
    )

    assert code(customer, amount_nanos=91) == "budget_exceeded"
    assert code(customer, amount_nanos=90) == "admitted"


@pytest.mark.parametrize(
    ("budget", "left"),
    [("day", (40, 100, 100)), ("month", (40, 40, 100)), ("total", (40, 40, 40))],
)
@pytest.mark.parametrize("ago", [0, 1, 2], ids=["today", "this month", "last month"])
def test_budgets_of_days_and_months_begin_anew_at_midnight_utc(budget, left, ago):
    customer = make_customer(10_000, **{f"budget_{budget}_nanos": 100})
    ask = customer.ask()
    admit(ask)
    settle(customer.end(ask, output_nanos=60))
    today = timezone.now().date()
    other_day_this_month = today.replace(day=2 if today.day == 1 else 1)
    last_month = today.replace(day=1) - timedelta(days=1)
    customer.move_spend((today, other_day_this_month, last_month)[ago])

    assert code(customer, amount_nanos=left[ago] + 1) == "budget_exceeded"
    assert code(customer, amount_nanos=left[ago]) == "admitted"


def test_a_hold_from_before_midnight_still_counts_after_it():
    customer = make_customer(10_000, budget_day_nanos=100)
    assert code(customer, amount_nanos=70) == "admitted"
    customer.move_spend(date(2020, 1, 1))

    assert code(customer, amount_nanos=31) == "budget_exceeded"
    assert code(customer, amount_nanos=30) == "admitted"


def test_a_budget_below_what_is_spent_refuses_all_but_what_is_free():
    customer = make_customer(10_000)
    ask = customer.ask()
    admit(ask)
    settle(customer.end(ask, output_nanos=60))
    change_key(customer, budget_total_nanos=50)

    assert code(customer, amount_nanos=1) == "budget_exceeded"
    assert code(customer, amount_nanos=0) == "admitted"
    assert customer.balances == (9940, 0)


def test_a_budget_larger_than_the_balance_is_no_credit():
    customer = make_customer(50, budget_total_nanos=1000)

    assert code(customer) == "insufficient_quota"


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

    verdicts = admit(ask, neighbour.ask(), ask)

    assert [verdict.code for verdict in verdicts] == ["admitted"] * 3
    assert customer.balances == (150, 100)
    assert neighbour.balances == (100, 100)


def test_an_id_of_another_keys_request_admits_nobody():
    """Else the second key's request would be served on the first one's hold."""
    first, second = make_customer(1000), make_customer(0)
    request_id = new_id()
    admit(first.ask(request_id=request_id))

    (verdict,) = admit(second.ask(request_id=request_id))

    assert verdict.code == "insufficient_quota"


def test_identify_tells_the_limits_and_counts_nothing():
    customer = make_customer(1000, requests_per_minute=5, tokens_per_minute=50)
    admit(customer.ask(tokens=20))

    verdicts = [identify(customer) for _ in range(2)]

    for verdict in verdicts:
        assert verdict.code == "identified"
        assert (verdict.requests_limit, verdict.requests_remaining) == (5, 4)
        assert (verdict.tokens_limit, verdict.tokens_remaining) == (50, 30)
        assert verdict.available_nanos == 900
        assert verdict.reset_at == pytest.approx(time.time() + 60, abs=3)
        assert (verdict.key_id, verdict.account_id, verdict.team_id) == (
            customer.key.pk,
            customer.account.pk,
            customer.team.pk,
        )


def test_identify_refuses_as_admission_does():
    customer = make_customer(0, scope="management")
    assert identify(customer).code == "wrong_scope"
    change_key(customer, scope="inference")
    change_team(customer, suspended_at=timezone.now())
    assert identify(customer).code == "team_suspended"


@pytest.mark.django_db(transaction=True)
def test_a_batch_locks_the_accounts_of_all_its_keys():
    """All, and before the decision: the reason why what is decided stays true until commit."""
    customers = [make_customer(1000) for _ in range(3)]
    with connect(autocommit=False) as holder, connect() as watcher:
        admit(*[customer.ask() for customer in customers], on=holder)
        free = watcher.execute(
            "SELECT id FROM billing_creditaccount WHERE id = ANY (%s)"
            " FOR NO KEY UPDATE SKIP LOCKED",
            [[customer.account.pk for customer in customers]],
        ).fetchall()
        holder.rollback()

    assert free == []
