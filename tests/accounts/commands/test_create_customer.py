"""`manage.py create_customer`."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client

from accounts.api_keys import find_active
from accounts.models import ApiKey, Team, User
from api.models import Service
from billing.models import CreditAccount, Transfer

pytestmark = pytest.mark.django_db


def create_customer(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("create_customer", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_it_makes_user_team_account_credit_and_key() -> None:
    made = create_customer("Ann@Example.com", "--credit", "10", "--name", "Ann")
    assert list(made) == [
        *("email", "user_id", "team", "team_id", "account_id", "api_key", "balance", "password")
    ]
    assert made["email"] == "ann@example.com"
    assert made["balance"] == "10.000000000"
    team = Team.objects.get(pk=made["team_id"])
    assert (team.slug, team.name, team.is_personal) == (made["team"], "Ann", True)
    assert CreditAccount.objects.get(team=team).posted_nanos == 10_000_000_000
    assert find_active(made["api_key"]).team == team
    assert User.objects.get().pk == made["user_id"]
    assert Client().login(username="ann@example.com", password=made["password"])


def test_a_given_password_is_taken_and_not_repeated() -> None:
    made = create_customer("ann@example.com", "--password", "correct horse battery")
    assert "password" not in made
    assert Client().login(username="ann@example.com", password="correct horse battery")


def test_again_it_keeps_the_user_and_adds_a_key_and_the_credit_asked_for() -> None:
    first = create_customer("ann@example.com", "--credit", "10")
    second = create_customer("ANN@example.com", "--credit", "0.000000001")
    third = create_customer("ann@example.com")
    for name in ("email", "user_id", "team", "team_id", "account_id"):
        assert first[name] == second[name] == third[name]
    assert second["balance"] == third["balance"] == "10.000000001"
    assert len({made["api_key"] for made in (first, second, third)}) == 3
    assert "password" not in second
    assert Transfer.objects.count() == 2


def test_a_user_without_a_team_gets_one() -> None:
    User.objects.create_user("ann@example.com")
    made = create_customer("ann@example.com", "--credit", "1")
    assert Team.objects.get(pk=made["team_id"]).members.get().email == "ann@example.com"


def test_the_key_has_the_services_prefix_and_the_name_asked_for() -> None:
    Service.objects.create(key_prefix="sk-glm5-")
    made = create_customer("ann@example.com", "--key-name", "CI")
    assert made["api_key"].startswith("sk-glm5-")
    assert ApiKey.objects.get().name == "CI"


def test_without_json_it_is_for_people() -> None:
    out = StringIO()
    call_command("create_customer", "ann@example.com", "--credit", "2.5", stdout=out)
    assert "balance     2.500000000" in out.getvalue()
    assert "shown this once" in out.getvalue()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no address"], "valid email"),
        (["ann@example.com", "--password", "123"], "too short"),
        (["ann@example.com", "--credit", "lots"], "is not an amount in dollars"),
        (["ann@example.com", "--credit", "-1"], "not from 0"),
        (["ann@example.com", "--credit", "0.0000000001"], "nano-dollars"),
        (["ann@example.com", "--credit", "NaN"], "is not an amount in dollars"),
        (["alice@example.com", "--password", "correct horse"], "changepassword"),
    ],
)
def test_a_mistake_is_explained_and_changes_nothing(alice, arguments, message) -> None:
    with pytest.raises(CommandError, match=message):
        create_customer(*arguments)
    assert User.objects.get() == alice
    assert not ApiKey.objects.exists()
    assert not Transfer.objects.exists()


def test_without_a_pepper_nothing_is_made(settings) -> None:
    settings.API_KEY_PEPPERS = {}
    with pytest.raises(CommandError, match="API_KEY_PEPPERS"):
        create_customer("ann@example.com", "--credit", "1")
    assert not User.objects.exists()
    assert not Transfer.objects.exists()


def test_a_database_that_is_away_is_said_to_be(monkeypatch) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("api.management.commands.create_customer.open_customer", away)
    with pytest.raises(CommandError, match="make run"):
        create_customer("ann@example.com")
