"""`manage.py balance`."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing.ledger import postings

pytestmark = pytest.mark.django_db


def balance(*arguments: str) -> str:
    out = StringIO()
    call_command("balance", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("by", ["slug", "id", "email"])
def test_a_team_is_named_by_slug_id_or_a_members_address(alices_account, by: str) -> None:
    postings.grant(alices_account, 1_234_567_890, reference="test")
    team = alices_account.team
    text = {"slug": team.slug, "id": str(team.pk), "email": "alice@example.com"}[by]
    assert json.loads(balance(text, "--json")) == {
        "team": "alice",
        "posted": "1.234567890",
        "held": "0.000000000",
        "available": "1.234567890",
        "posted_nanos": 1_234_567_890,
        "held_nanos": 0,
        "available_nanos": 1_234_567_890,
    }


def test_for_people_it_is_three_lines_of_dollars(alices_account) -> None:
    lines = balance("alice").splitlines()
    assert lines[0] == "Alice (alice)"
    assert [line.split()[0] for line in lines[1:]] == ["posted", "held", "available"]


def test_a_team_without_an_account_has_nothing(alices_team) -> None:
    assert json.loads(balance("alice", "--json"))["available_nanos"] == 0


def test_an_unknown_team_is_said_to_be(db) -> None:
    with pytest.raises(CommandError, match=r"No team has the slug.*create_customer"):
        balance("nobody")
