"""Which team a request acts for, and what `team` shows."""

import pytest

from accounts import teams
from accounts.models import Membership, Role, Team
from billing.ledger import postings
from tests.api.manage.conftest import Caller
from tests.cast import signed_in

pytestmark = pytest.mark.django_db


def test_a_team_is_shown_with_plan_and_balance(as_manager, alices_team, alices_account) -> None:
    postings.grant(alices_account, 12_500_000_000, reference="test")
    response = as_manager("GET", "/team")
    assert response.data == {
        "object": "team",
        "id": alices_team.pk,
        "name": "Alice",
        "slug": "alice",
        "suspended_at": None,
        "plan": {
            "name": "default",
            "title": "Default",
            "requests_per_minute": 60,
            "tokens_per_minute": 120_000,
            "concurrent_requests": 100,
            "max_keys": 100,
        },
        "balance": {
            "posted": "12.500000000",
            "held": "0.000000000",
            "available": "12.500000000",
            "posted_nanos": 12_500_000_000,
            "held_nanos": 0,
            "available_nanos": 12_500_000_000,
        },
    }


def test_a_team_without_an_account_has_nothing(as_manager) -> None:
    assert as_manager("GET", "/team").data["balance"]["available_nanos"] == 0


def test_showing_a_team_takes_two_queries(as_manager, django_assert_num_queries) -> None:
    with django_assert_num_queries(2):  # the key with its team and plan, the account
        as_manager("GET", "/team")


def test_a_member_of_several_teams_names_one_or_gets_their_own(bob, alices_team) -> None:
    caller = Caller(signed_in(bob))
    assert caller("GET", "/team").data["slug"] == teams.personal_team(bob).slug
    assert caller("GET", f"/team?team={alices_team.slug}").data["slug"] == alices_team.slug


@pytest.mark.parametrize("slug", ["", "nobodys", "charlie", "é%00", "x" * 500])
def test_other_teams_and_none_look_the_same(alice, charlies_team, slug: str) -> None:
    response = Caller(signed_in(alice))("GET", f"/team?team={slug}")
    assert response.status_code == 404
    assert response.data["error"]["code"] == "not_found"
    assert response.data["error"]["param"] == "team"


def test_a_management_key_acts_on_no_other_team(as_manager, alice, charlies_team) -> None:
    Membership.objects.create(user=alice, team=charlies_team, role=Role.OWNER)
    assert as_manager("GET", f"/keys?team={charlies_team.slug}").status_code == 404
    assert as_manager("GET", "/keys?team=alice").status_code == 200


def test_somebody_in_several_teams_none_their_own_is_asked_which(bob, charlies_team) -> None:
    Membership.objects.create(user=bob, team=charlies_team, role=Role.BILLING)
    Team.objects.filter(memberships__user=bob).update(is_personal=False)
    response = Caller(signed_in(bob))("GET", "/team")
    assert response.status_code == 400
    assert response.data["error"]["param"] == "team"
