"""`manage.py create_key`."""

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.api_keys import find_active
from accounts.models import ApiKey

pytestmark = pytest.mark.django_db


def create_key(*arguments: str) -> dict[str, Any]:
    out = StringIO()
    call_command("create_key", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_a_key_of_a_teams_own_rules(alices_team) -> None:
    made = create_key("alice")
    assert list(made) == ["team", "key_id", "api_key"]
    key = find_active(made["api_key"])
    assert (key.pk, key.team, key.scope) == (made["key_id"], alices_team, "inference")
    assert key.requests_per_minute is key.budget_day_nanos is key.expires_at is None


def test_every_rule_can_be_given_and_staff_may_exceed_the_plan(alices_team) -> None:
    made = create_key(
        *("alice", "--name", "CI", "--scope", "management"),
        *("--expires-at", "2099-01-31T12:00:00Z"),
        *("--model", "glm-5.2", "--model", "glm-4.7"),
        *("--requests-per-minute", "600", "--tokens-per-minute", "1000000"),
        *("--budget-day", "1.5", "--budget-month", "20", "--budget-total", "300"),
    )
    key = ApiKey.objects.get(pk=made["key_id"])
    assert (key.name, key.scope) == ("CI", "management")
    assert key.expires_at == datetime(2099, 1, 31, 12, tzinfo=UTC)
    assert key.allowed_models == ["glm-5.2", "glm-4.7"]
    assert (key.requests_per_minute, key.tokens_per_minute) == (600, 1_000_000)
    assert key.budget_day_nanos == 1_500_000_000
    assert key.budget_month_nanos == 20_000_000_000
    assert key.budget_total_nanos == 300_000_000_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "No team"),
        (["alice", "--expires-at", "soon"], "not a time"),
        (["alice", "--expires-at", "2020-01-01"], "in the past"),
        (["alice", "--requests-per-minute", "0"], "from 1"),
        (["alice", "--budget-day", "x"], "is not an amount"),
        (["alice", "--scope", "root"], "invalid choice"),
    ],
)
def test_a_mistake_is_explained_and_makes_nothing(alices_team, arguments, message) -> None:
    with pytest.raises(CommandError, match=message):
        create_key(*arguments)
    assert not ApiKey.objects.exists()
