"""Members: who may change and remove whom, and a team that keeps an owner whoever races."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from accounts import members
from accounts.access import Actor
from accounts.api_keys import find_active
from accounts.errors import (
    AccountsError,
    LastOwnerError,
    NoSuchMemberError,
    NotAllowedError,
)
from accounts.models import AuditEntry, Membership, Role, Team, User
from accounts.teams import create_team, sign_up
from tests.cast import issue

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(alice: User) -> Team:
    """A shared team of Alice's."""
    return create_team("Shared", owner=alice)


def join(team: Team, name: str, role: str) -> Membership:
    user, _ = sign_up(f"{name}@example.com", None, name)
    return Membership.objects.create(user=user, team=team, role=role)


def actor_of(member: Membership) -> Actor:
    return Actor(team=member.team, user=member.user, role=member.role)


def owner_of(team: Team) -> Actor:
    return actor_of(team.memberships.select_related("team", "user").get(role=Role.OWNER))


@pytest.mark.parametrize(
    ("actor_role", "member_role", "may"),
    [
        ("owner", "owner", True),
        ("owner", "admin", True),
        ("owner", "developer", True),
        ("admin", "owner", False),
        ("admin", "admin", True),
        ("admin", "billing", True),
        ("developer", "developer", False),
        ("developer", "billing", False),
        ("billing", "developer", False),
    ],
)
def test_owners_change_everybody_and_admins_all_but_owners(
    team: Team, actor_role: str, member_role: str, may: bool
) -> None:
    actor = actor_of(join(team, "actor", actor_role))
    member = join(team, "member", member_role)
    if not may:
        with pytest.raises(NotAllowedError):
            members.change_role(actor, member, Role.BILLING)
        with pytest.raises(NotAllowedError):
            members.remove_member(actor, member)
        member.refresh_from_db()
        assert member.role == member_role
        assert not AuditEntry.objects.exists()
        return
    other = Role.DEVELOPER if member_role != Role.DEVELOPER else Role.BILLING
    assert members.change_role(actor, member, other).role == other
    members.remove_member(actor, member)
    assert not Membership.objects.filter(pk=member.pk).exists()
    assert [entry.action for entry in AuditEntry.objects.order_by("id")] == [
        "member.role_changed",
        "member.removed",
    ]


def test_an_admin_makes_nobody_an_owner(team: Team) -> None:
    actor = actor_of(join(team, "admin", Role.ADMIN))
    with pytest.raises(NotAllowedError):
        members.change_role(actor, join(team, "member", Role.DEVELOPER), Role.OWNER)


def test_a_role_that_is_none_is_refused(team: Team) -> None:
    member = join(team, "member", Role.DEVELOPER)
    with pytest.raises(NotAllowedError):
        members.change_role(owner_of(team), member, "emperor")


def test_the_role_of_now_counts_and_not_the_one_of_the_request(team: Team) -> None:
    admin = join(team, "admin", Role.ADMIN)
    member = join(team, "member", Role.DEVELOPER)
    stale = actor_of(admin)
    members.change_role(owner_of(team), admin, Role.BILLING)
    with pytest.raises(NotAllowedError):
        members.remove_member(stale, member)
    members.remove_member(owner_of(team), admin)
    with pytest.raises(NotAllowedError):
        members.rename_team(stale, "Mine")


def test_the_last_owner_neither_leaves_nor_steps_down_nor_is_removed(team: Team) -> None:
    join(team, "admin", Role.ADMIN)
    owner = owner_of(team)
    membership = team.memberships.get(role=Role.OWNER)
    with pytest.raises(LastOwnerError):
        members.leave_team(owner)
    with pytest.raises(LastOwnerError):
        members.change_role(owner, membership, Role.ADMIN)
    with pytest.raises(LastOwnerError):
        members.remove_member(owner, membership)
    assert team.memberships.filter(role=Role.OWNER).count() == 1
    assert not AuditEntry.objects.exists()


def test_one_of_two_owners_leaves(team: Team) -> None:
    second = join(team, "second", Role.OWNER)
    members.leave_team(actor_of(second), ip_address="192.0.2.7")
    assert not Membership.objects.filter(pk=second.pk).exists()
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.detail) == (
        "member.left",
        "second@example.com",
        {"role": "owner"},
    )
    assert entry.ip_address == "192.0.2.7"


def test_a_personal_team_stays_its_persons(alices_team: Team, bob: User) -> None:
    alice = owner_of(alices_team)
    bobs = alices_team.memberships.select_related("user", "team").get(user=bob)
    with pytest.raises(NotAllowedError):
        members.leave_team(alice)
    with pytest.raises(NotAllowedError):
        members.change_role(alice, bobs, Role.OWNER)
    members.change_role(alice, bobs, Role.ADMIN)
    bobs.refresh_from_db()
    with pytest.raises(NotAllowedError):
        members.remove_member(actor_of(bobs), alices_team.memberships.get(role=Role.OWNER))
    members.leave_team(actor_of(bobs))
    assert list(alices_team.members.all()) == [alice.user]


def test_another_teams_member_is_out_of_reach(team: Team, charlies_team: Team) -> None:
    with pytest.raises(NoSuchMemberError):
        members.remove_member(owner_of(team), charlies_team.memberships.get())
    assert charlies_team.memberships.count() == 1


def test_keys_outlive_their_makers_membership(team: Team) -> None:
    member = join(team, "member", Role.DEVELOPER)
    key = issue(team, member.user)
    members.remove_member(owner_of(team), member)
    assert find_active(key.plaintext) == key.key


def test_a_new_name_is_written_down_once(team: Team) -> None:
    assert members.rename_team(owner_of(team), "Other").name == "Other"
    members.rename_team(owner_of(team), "Other")
    assert AuditEntry.objects.get().detail == {"from": "Shared", "to": "Other"}


def race(actions: list[Callable[[], object]]) -> list[Exception]:
    """Do all at once, each on its own connection; return what was refused."""
    start = threading.Barrier(len(actions))
    refused: list[Exception] = []

    def do(action: Callable[[], object]) -> None:
        start.wait()
        try:
            action()
        except AccountsError as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=do, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(3))
def test_of_owners_who_all_leave_at_once_one_stays(alice: User, attempt: int) -> None:
    team = create_team("Shared", owner=alice)
    for number in range(4):
        join(team, f"owner{number}", Role.OWNER)
    owners = [actor_of(each) for each in team.memberships.select_related("user", "team")]
    refused = race([lambda actor=actor: members.leave_team(actor) for actor in owners])  # type: ignore[misc]
    assert [type(error) for error in refused] == [LastOwnerError]
    assert team.memberships.filter(role=Role.OWNER).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(3))
def test_of_two_owners_who_demote_each_other_one_stays(alice: User, attempt: int) -> None:
    team = create_team("Shared", owner=alice)
    second = join(team, "second", Role.OWNER)
    first = team.memberships.select_related("user", "team").get(user=alice)
    race(
        [
            lambda: members.change_role(actor_of(first), second, Role.DEVELOPER),
            lambda: members.change_role(actor_of(second), first, Role.DEVELOPER),
        ]
    )
    assert team.memberships.filter(role=Role.OWNER).count() == 1
