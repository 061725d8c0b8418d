"""Budgets of teams, members, keys, sessions and end users."""

from datetime import date
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from accounts import api_keys
from accounts.models import ApiKey, Team, User
from billing.ledger import budgets
from billing.ledger.extension import Extension, ExtensionResult
from billing.ledger.refusal_details import TightestBudget
from billing.models import BudgetRule, BudgetSpend, BudgetWarning, CreditAccount
from tests.billing.conftest import broken_invariants
from tests.billing.gates import open_gate
from tests.billing.ledger_calls import (
    Customer,
    admit,
    call,
    make_customer,
    make_key,
    new_id,
    repeat_on_ten_connections,
    run,
    settle,
    sweep,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]
SCOPES = BudgetRule.Scope.values
# A request as each scope counts it, and one that counts for another of its kind.
NAMES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "session": ({"session_id": "run 1"}, {"session_id": "run 2"}),
    "end_user": ({"end_user": "ann"}, {"end_user": "bob"}),
}


def make_member(customer: Customer) -> User:
    """Let the customer's key be a new user's."""
    user = User.objects.create_user(f"{new_id()}@example.com")
    customer.key.created_by = user
    customer.key.save()
    return user


def set_rule(
    customer: Customer, limit_nanos: int, scope: str, period: str = "total", is_hard: bool = True
) -> int:
    """Make or change a rule of the customer's team, key, or key's maker."""
    member = None
    if scope == "member":
        member = customer.key.created_by or make_member(customer)
    key = customer.key if scope in ("key", "session", "end_user") else None
    return budgets.set_budget(
        customer.team, scope, period, limit_nanos, is_hard=is_hard, key=key, member=member
    )


def limited(limit_nanos: int, scope: str, period: str = "total", **more: Any) -> Customer:
    """Return a customer with one rule."""
    customer = make_customer(1_000_000)
    set_rule(customer, limit_nanos, scope, period, **more)
    return customer


def rows(customer: Customer) -> list[tuple[str, int, int]]:
    """Return the subject, what is spent and what is held of each of the customer's rows."""
    found = BudgetSpend.objects.filter(account=customer.account).order_by("pk")
    return list(found.values_list("subject", "spent_nanos", "held_nanos"))


def extend(customer: Customer, request_id: str, amount: int, minimum: int) -> tuple[str, int]:
    asked = Extension(
        request_id=request_id,
        account_id=customer.account.pk,
        amount_nanos=amount,
        minimum_nanos=minimum,
    )
    (result,) = call("extend", [asked], ExtensionResult)  # type: ignore[type-var]
    return result.code, result.amount_nanos


@pytest.mark.parametrize("scope", SCOPES)
def test_a_budget_is_held_and_spent_to_the_nano(scope):
    customer = limited(250, scope)
    named, _ = NAMES.get(scope, ({}, {}))
    asks = [customer.ask(**named) for _ in range(3)]
    codes = [result.code for result in admit(*asks)]

    assert sorted(codes) == ["admitted", "admitted", "budget_exceeded"]
    settle(customer.end(asks[codes.index("admitted")], output_nanos=40))
    assert customer.code(**named, amount_nanos=111) == "budget_exceeded"
    (result,) = admit(customer.ask(**named, amount_nanos=500, minimum_nanos=1))
    assert (result.code, result.amount_nanos) == ("admitted", 110)
    assert customer.code(**named, amount_nanos=1) == "budget_exceeded"
    assert customer.code(**named, amount_nanos=0) == "admitted"
    assert rows(customer)[-1][1:] == (40, 210)


@pytest.mark.parametrize("scope", SCOPES)
def test_others_do_not_count(scope):
    customer = limited(100, scope)
    named, other = NAMES.get(scope, ({}, {}))
    customer.admitted(**named)

    others = {"team": make_customer(1000), "key": customer.another_key()}
    others["member"] = customer.another_key()
    assert others.get(scope, customer).code(**other) == "admitted"
    assert customer.another_key(created_by=customer.key.created_by).code() == (
        "budget_exceeded" if scope in ("team", "member") else "admitted"
    )


def test_an_admission_says_what_balance_and_budgets_leave():
    customer = limited(250, "team")
    left = [admit(customer.ask())[0].available_nanos for _ in range(3)]
    assert left == [150, 50, 50]
    customer.change_key(budget_total_nanos=220)
    assert admit(customer.ask(amount_nanos=5))[0].available_nanos == 15


def test_requests_that_name_no_session_share_one_budget():
    customer = limited(150, "session")
    assert customer.code() == "admitted"
    assert customer.code() == "budget_exceeded"
    assert customer.code(session_id="run 1") == "admitted"


def test_every_budget_counts_and_the_least_one_decides():
    customer = limited(1000, "team")
    set_rule(customer, 300, "member", "day")
    set_rule(customer, 150, "session")

    assert customer.code(session_id="1") == "admitted"
    assert customer.code(session_id="1") == "budget_exceeded"
    assert customer.code(session_id="2") == "admitted"
    assert customer.code(session_id="3") == "admitted"
    assert customer.code(session_id="4") == "budget_exceeded"


def test_a_budget_in_a_request_lowers_the_sessions_and_never_lifts_it():
    customer = limited(150, "session")
    one = {"session_id": "1", "session_budget_nanos": 100}
    codes = {each.code for each in admit(customer.ask(**one), customer.ask(**one))}
    assert codes == {"admitted", "budget_exceeded"}
    other = {"session_id": "2", "session_budget_nanos": 1_000_000}
    assert customer.code(**other) == "admitted"
    assert customer.code(**other) == "budget_exceeded"


def test_a_budget_in_a_request_needs_no_rule_and_outlives_a_rotation():
    customer = make_customer(1000)
    one = {"session_id": "1", "session_budget_nanos": 150}
    ask = customer.admitted(**one)
    assert extend(customer, ask.request_id, 200, 100) == ("extended", 150)
    assert extend(customer, ask.request_id, 200, 151) == ("budget_exceeded", 150)
    settle(customer.end(ask, output_nanos=120))
    assert customer.another_key().code(**one) == "budget_exceeded"
    assert customer.code(session_id="1") == "admitted"
    assert rows(customer) == [("1", 120, 0)]


def test_a_warning_budget_refuses_nothing_and_warns_at_each_threshold():
    customer = limited(100, "team", is_hard=False)
    for cost in (49, 1, 40, 10, 1):
        settle(customer.end(customer.admitted(), output_nanos=cost))

    warned = BudgetWarning.objects.filter(spend__account=customer.account).order_by("pk")
    assert list(warned.values_list("percent", "spent_nanos")) == [(50, 50), (75, 90), (100, 100)]


def test_a_raised_limit_warns_again():
    customer = limited(100, "key")
    settle(customer.end(customer.admitted(), output_nanos=100))
    set_rule(customer, 1000, "key")
    settle(customer.end(customer.admitted(amount_nanos=500), output_nanos=500))

    warned = BudgetWarning.objects.filter(spend__account=customer.account).order_by("pk")
    assert list(warned.values_list("percent", "limit_nanos")) == [(100, 100), (50, 1000)]


@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_period_starts_over(period):
    customer = limited(100, "team", period)
    ask = customer.admitted()
    BudgetSpend.objects.filter(account=customer.account).update(starts_on=date(2020, 1, 6))

    assert customer.code() == "admitted"
    settle(customer.end(ask, output_nanos=70))
    assert rows(customer) == [("", 70, 0), ("", 0, 100)]


@pytest.mark.parametrize("period", BudgetRule.Period.values)
@pytest.mark.parametrize("scope", ["team", "member", "key"])
def test_a_new_rule_counts_what_its_period_has_spent(scope, period):
    customer = make_customer(1000)
    member = make_member(customer)
    for who in (customer, customer.another_key(), customer.another_key(created_by=member)):
        settle(who.end(who.admitted(), output_nanos=30))
    set_rule(customer, 150, scope, period)

    spent = {"team": 90, "member": 60, "key": 30}[scope]
    assert rows(customer) == [("", spent, 0)]
    assert customer.code(amount_nanos=151 - spent) == "budget_exceeded"
    assert customer.code(amount_nanos=150 - spent) == "admitted"


@pytest.mark.parametrize("scope", ["key", "session", "end_user"])
def test_a_rotated_key_keeps_its_rules_and_what_was_spent(scope):
    customer = limited(150, scope)
    named, _ = NAMES.get(scope, ({}, {}))
    settle(customer.end(customer.admitted(**named), output_nanos=90))
    successor, _ = api_keys.rotate_key(customer.key, 600)
    new = Customer(customer.team, customer.account, successor, customer.catalogue_version)

    assert new.code(**named, amount_nanos=61) == "budget_exceeded"
    assert customer.code(**named, amount_nanos=40) == "admitted"
    assert new.code(**named, amount_nanos=21) == "budget_exceeded"
    assert new.code(**named, amount_nanos=20) == "admitted"


def test_a_hold_grows_as_far_as_the_budget_allows():
    customer = limited(250, "team")
    first, second = customer.admitted(), customer.admitted()

    assert extend(customer, first.request_id, 300, 120) == ("extended", 150)
    assert extend(customer, second.request_id, 120, 120) == ("budget_exceeded", 100)
    settle(customer.end(first, output_nanos=100))
    assert extend(customer, second.request_id, 120, 120) == ("extended", 120)
    assert rows(customer) == [("", 100, 120)]


def test_the_sweep_releases_and_a_late_settlement_is_counted():
    customer = limited(100, "member")
    ask = customer.admitted(hold_seconds=-1.0)
    sweep()
    assert rows(customer) == [("", 0, 0)]
    settle(customer.end(ask, output_nanos=60))
    assert rows(customer) == [("", 60, 0)]
    settle(customer.end(ask, output_nanos=60))
    assert rows(customer) == [("", 60, 0)]


def test_a_changed_or_removed_rule_counts_from_the_next_request():
    customer = limited(100, "team")
    ask = customer.admitted()
    rule = set_rule(customer, 200, "team")
    assert customer.code() == "admitted"
    assert customer.code() == "budget_exceeded"
    assert budgets.remove_budget(customer.team, rule)
    assert not budgets.remove_budget(customer.team, rule)
    assert customer.code() == "admitted"
    assert extend(customer, ask.request_id, 500, 500) == ("extended", 500)
    settle(customer.end(ask, output_nanos=60))
    assert rows(customer) == [("", 60, 100)]


def test_a_rule_needs_the_key_or_member_of_its_team():
    customer, other = make_customer(), make_customer()
    for key, scope in ((None, "key"), (other.key, "session")):
        with pytest.raises(IntegrityError), transaction.atomic():
            budgets.set_budget(customer.team, scope, "day", 100, key=key)
    assert not BudgetRule.objects.filter(team=customer.team).exists()


def test_a_repeat_within_a_batch_or_after_it_holds_once():
    customer = limited(1000, "team")
    ask = customer.ask()
    assert [each.code for each in admit(ask, ask)] == ["admitted"] * 2
    admit(ask)
    assert rows(customer) == [("", 0, 100)]


def test_a_refused_repeat_within_a_batch_stays_refused():
    customer = limited(50, "team")
    ask = customer.ask()
    assert [each.code for each in admit(ask, ask)] == ["budget_exceeded"] * 2


def test_a_team_without_budgets_counts_nowhere():
    customer = make_customer(1000)
    ask = customer.admitted(session_id="1", end_user="ann")
    settle(customer.end(ask, output_nanos=60))
    assert rows(customer) == []
    assert customer.record(ask).spend_ids is None
    assert not CreditAccount.objects.get(pk=customer.account.pk).has_budgets


def test_a_budget_is_exact_in_a_batch_of_many_keys_and_sessions():
    customer = limited(1000, "team")
    keys = [customer, *(customer.another_key() for _ in range(3))]
    for who in keys:
        set_rule(who, 250, "session")
    asks = [
        who.ask(amount_nanos=70, session_id=f"{turn % 2}") for turn in range(10) for who in keys
    ]
    codes = [result.code for result in admit(*asks)]

    assert codes.count("admitted") == 14  # 980 of the team's 1,000
    assert sum(held for _, _, held in rows(customer)) == 2 * 14 * 70
    assert all(held <= 250 for subject, _, held in rows(customer) if subject)


@pytest.mark.django_db(transaction=True)
def test_a_budget_is_exact_with_ten_connections_at_once():
    customer = limited(1000, "team", "month")
    named = {"session_id": "1", "session_budget_nanos": 700}

    def work(own: Any) -> int:
        ask = customer.ask(amount_nanos=30, **named)
        (result,) = admit(ask, on=own)
        if result.code != "admitted":
            return 0
        grown = Extension(
            request_id=ask.request_id, account_id=customer.account.pk, amount_nanos=45
        )
        call("extend", [grown], ExtensionResult, on=own)  # type: ignore[type-var]
        settle(customer.end(ask, output_nanos=20), on=own)
        return 20

    charged = sum(repeat_on_ten_connections(work))
    spent = {subject: spent for subject, spent, _ in rows(customer)}
    assert spent == {"": charged, "1": charged}
    assert 660 <= charged <= 700


@pytest.mark.django_db(transaction=True)
def test_a_refusal_names_the_budget_and_what_is_left():
    customer = limited(120, "session")
    set_rule(customer, 10_000, "team", "month")
    customer.admitted(session_id="1")
    ask = customer.ask(session_id="1", end_user="\ud800\0")  # as no JSON of PostgreSQL's can have

    async def work() -> Any:
        async with open_gate() as gate:
            return await gate.admit(ask)

    result = run(work())
    assert result.code == "budget_exceeded"
    assert result.budget == TightestBudget("session", "total", 120, 20, None)
    ApiKey.objects.filter(pk=customer.key.pk).update(budget_day_nanos=110)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT scope, left_nanos, resets_at = extract(epoch FROM"
            " ((now() AT TIME ZONE 'UTC')::date + 1)::timestamp)"
            " FROM billing_tightest_budget(%s::jsonb)",
            [f'{{"request_id": "{new_id()}", "digests": ["{bytes(customer.key.digest).hex()}"]}}'],
        )
        assert cursor.fetchone() == ("key", 10, True)


def test_a_deleted_budget_row_or_a_wrong_sum_is_found():
    customer = limited(1000, "team")
    settle(customer.end(customer.admitted(), output_nanos=60))
    BudgetSpend.objects.filter(account=customer.account).update(
        spent_nanos=F("spent_nanos") - 1, held_nanos=1
    )
    assert set(broken_invariants()) == {"I2 held", "I4 budgets"}
    BudgetSpend.objects.filter(account=customer.account).update(
        spent_nanos=F("spent_nanos") + 1, held_nanos=0
    )


def test_a_team_without_an_account_delays_no_one():
    customer = limited(1000, "team")
    name = new_id()
    team = Team.objects.create(name=name, slug=name, plan=customer.team.plan)
    other = Customer(team, customer.account, make_key(team), customer.catalogue_version)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '20s'")

    ask, without = customer.ask(), other.ask(session_id="1", session_budget_nanos=100)
    assert [each.code for each in admit(ask, without)] == ["admitted", "invalid_api_key"]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_rules_of_one_series_that_differ_fail_no_batch(is_reversed):
    customer = limited(150, "key")
    successor, _ = api_keys.rotate_key(customer.key, 600)
    new = Customer(customer.team, customer.account, successor, customer.catalogue_version)
    warned, strict = (new, customer) if is_reversed else (customer, new)
    set_rule(warned, 120, "key", is_hard=False)

    asks = [who.ask() for who in (warned, strict, warned)]
    codes = [each.code for each in admit(*asks)]
    assert codes[0] == codes[2] == "admitted"
    assert rows(customer) == [("", 0, 100 * codes.count("admitted"))]


def test_a_changed_rule_leaves_earlier_periods_alone():
    customer = limited(100, "team", "day")
    BudgetSpend.objects.filter(account=customer.account).update(starts_on=date(2020, 1, 6))
    customer.admitted()
    set_rule(customer, 200, "team", "day", is_hard=False)

    found = BudgetSpend.objects.filter(account=customer.account).order_by("pk")
    assert list(found.values_list("limit_nanos", "is_hard")) == [(100, True), (200, False)]
