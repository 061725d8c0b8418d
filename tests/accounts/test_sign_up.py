"""Signing up and finding teams."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, transaction

from accounts import teams
from accounts.errors import EmailInUseError
from accounts.models import Membership, Plan, Role, Team, User

pytestmark = pytest.mark.django_db


def test_sign_up_makes_a_user_a_personal_team_and_its_owner() -> None:
    user, team = teams.sign_up("Ann@Example.COM", "a secret", "Ann Lee")
    assert user.email == "ann@example.com"
    assert user.check_password("a secret")
    assert not user.is_staff
    assert (team.name, team.slug, team.is_personal) == ("Ann Lee", "ann-lee", True)
    assert Membership.objects.get(team=team, user=user).role == Role.OWNER
    assert teams.personal_team(user) == team


def test_a34_a_new_team_is_on_the_default_plan_of_60_requests_and_120000_tokens() -> None:
    _, team = teams.sign_up("ann@example.com", None)
    assert team.plan.is_default
    assert (team.plan.requests_per_minute, team.plan.tokens_per_minute) == (60, 120_000)


def test_without_a_password_nobody_signs_in_with_one() -> None:
    user, _ = teams.sign_up("ann@example.com", None)
    assert not user.has_usable_password()


@pytest.mark.parametrize("again", ["alice@example.com", "ALICE@example.com"])
def test_an_address_in_use_is_refused_and_leaves_nothing(alice: User, again: str) -> None:
    with pytest.raises(EmailInUseError, match="already in use"):
        teams.sign_up(again, "secret", "Another")
    assert User.objects.count() == 1
    assert Team.objects.count() == 1


def test_a_failure_half_way_leaves_nothing() -> None:
    Plan.objects.update(is_default=False)
    with pytest.raises(ImproperlyConfigured, match="mark one in the admin"):
        teams.sign_up("ann@example.com", "secret")
    assert not User.objects.exists()


def test_slugs_are_unique_whatever_the_names() -> None:
    names = ["Same", "Same", "same!", "", "日本", "12345", "x" * 150]
    made = [teams.sign_up(f"u{i}@example.com", None, name)[1] for i, name in enumerate(names)]
    slugs = [team.slug for team in made]
    assert len(set(slugs)) == len(slugs)
    assert all(slug and not slug.isdigit() for slug in slugs)


def test_one_user_has_one_membership_of_a_team(alice: User, alices_team: Team) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        Membership.objects.create(user=alice, team=alices_team, role=Role.BILLING)


def test_a_role_that_does_not_exist_is_refused_by_the_database(bob: User) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        bob.memberships.update(role="emperor")


def test_a_team_is_found_by_slug_id_and_members_address(bob: User, alices_team: Team) -> None:
    assert teams.find_team(alices_team.slug) == alices_team
    assert teams.find_team(str(alices_team.pk)) == alices_team
    assert teams.find_team("ALICE@example.com") == alices_team
    assert teams.find_team("bob@example.com") == teams.personal_team(bob) != alices_team


@pytest.mark.parametrize("text", ["", "nobody", "nobody@example.com", "0", "9" * 18, "9" * 40, "²"])
def test_no_team_is_found_where_there_is_none(alices_team: Team, text: str) -> None:
    assert teams.find_team(text) is None


def test_people_sign_in_with_their_address_in_any_case(alice: User, client) -> None:
    assert client.login(username="Alice@Example.com", password="alices secret")
