"""Invitations: one open for each address, for its owner alone, accepted once."""

import threading
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.db import IntegrityError, connection
from django.utils import timezone

from accounts import invitations
from accounts.access import Actor
from accounts.errors import (
    AccountsError,
    AlreadyInvitedError,
    AlreadyMemberError,
    InvitationClosedError,
    InvitationMismatchError,
    NotAllowedError,
)
from accounts.models import AuditEntry, Invitation, Membership, Role, Team, User
from accounts.teams import create_team
from tests.cast import everything_in_the_database

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner(alice: User) -> Actor:
    """Alice, as the owner of a shared team."""
    return Actor(team=create_team("Shared", owner=alice), user=alice, role=Role.OWNER)


def expire(invitation: Invitation) -> None:
    past = timezone.now() - timedelta(seconds=1)
    Invitation.objects.filter(pk=invitation.pk).update(expires_at=past)
    invitation.refresh_from_db()


def test_whoever_was_invited_joins_with_the_role_offered(owner: Actor, charlie: User) -> None:
    invitation, token = invitations.invite(owner, " Charlie@Example.com ", Role.BILLING)
    assert invitation.expires_at - invitation.created_at >= timedelta(days=6, hours=23)
    found = invitations.find(token)
    assert found == invitation
    member = invitations.accept(found, charlie)
    assert (member.team, member.role) == (owner.team, Role.BILLING)
    assert [(entry.action, entry.actor) for entry in AuditEntry.objects.order_by("id")] == [
        ("member.invited", owner.user),
        ("member.joined", charlie),
    ]


def test_the_token_is_nowhere_in_the_database(owner: Actor) -> None:
    _, token = invitations.invite(owner, "guest@example.com", Role.ADMIN)
    assert len(token) >= 43
    assert token not in everything_in_the_database()


def test_an_invitation_is_accepted_once(owner: Actor, charlie: User) -> None:
    invitation, _ = invitations.invite(owner, charlie.email, Role.DEVELOPER)
    member = invitations.accept(invitation, charlie)
    member.delete()
    with pytest.raises(InvitationClosedError):
        invitations.accept(invitation, charlie)
    assert not owner.team.memberships.filter(user=charlie).exists()


def test_an_expired_or_withdrawn_invitation_lets_nobody_in(owner: Actor, charlie: User) -> None:
    invitation, _ = invitations.invite(owner, charlie.email, Role.DEVELOPER)
    expire(invitation)
    with pytest.raises(InvitationClosedError):
        invitations.accept(invitation, charlie)
    again, _ = invitations.invite(owner, charlie.email, Role.DEVELOPER)
    invitations.withdraw(owner, again)
    with pytest.raises(InvitationClosedError):
        invitations.accept(again, charlie)
    with pytest.raises(InvitationClosedError):
        invitations.withdraw(owner, again)
    assert not owner.team.memberships.filter(user=charlie).exists()


def test_another_address_is_refused_and_a_verified_second_one_is_not(
    owner: Actor, charlie: User
) -> None:
    invitation, _ = invitations.invite(owner, "guest@example.com", Role.DEVELOPER)
    second = EmailAddress.objects.create(user=charlie, email="guest@example.com", verified=False)
    with pytest.raises(InvitationMismatchError):
        invitations.accept(invitation, charlie)
    second.verified = True
    second.save()
    assert invitations.accept(invitation, charlie).user == charlie


def test_an_address_has_one_open_invitation_to_a_team(owner: Actor, charlie: User) -> None:
    invitation, _ = invitations.invite(owner, "guest@example.com", Role.DEVELOPER)
    with pytest.raises(AlreadyInvitedError):
        invitations.invite(owner, "GUEST@example.com", Role.ADMIN)
    with pytest.raises(IntegrityError):
        Invitation.objects.create(
            team=owner.team,
            email="Guest@example.com",
            role=Role.ADMIN,
            digest=b"x",
            expires_at=timezone.now(),
        )
    assert invitation.role == Role.DEVELOPER


def test_a_member_is_not_invited(owner: Actor) -> None:
    with pytest.raises(AlreadyMemberError):
        invitations.invite(owner, "ALICE@example.com", Role.ADMIN)


def test_sent_again_only_the_new_letter_opens(owner: Actor) -> None:
    invitation, before = invitations.invite(owner, "guest@example.com", Role.DEVELOPER)
    expire(invitation)
    renewed, after = invitations.renew(owner, invitation)
    assert invitations.is_open(renewed)
    assert invitations.find(before) is None
    assert invitations.find(after) == renewed


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.BILLING])
def test_who_manages_no_members_invites_nobody(owner: Actor, charlie: User, role: str) -> None:
    Membership.objects.create(user=charlie, team=owner.team, role=role)
    actor = Actor(team=owner.team, user=charlie, role=role)
    invitation, _ = invitations.invite(owner, "guest@example.com", Role.DEVELOPER)
    for action in (
        lambda: invitations.invite(actor, "other@example.com", Role.DEVELOPER),
        lambda: invitations.renew(actor, invitation),
        lambda: invitations.withdraw(actor, invitation),
    ):
        with pytest.raises(NotAllowedError):
            action()


def test_an_admin_neither_offers_nor_touches_ownership(owner: Actor, charlie: User) -> None:
    Membership.objects.create(user=charlie, team=owner.team, role=Role.ADMIN)
    admin = Actor(team=owner.team, user=charlie, role=Role.ADMIN)
    with pytest.raises(NotAllowedError):
        invitations.invite(admin, "guest@example.com", Role.OWNER)
    invitation, _ = invitations.invite(owner, "guest@example.com", Role.OWNER)
    with pytest.raises(NotAllowedError):
        invitations.withdraw(admin, invitation)


def test_a_personal_team_offers_no_ownership(alice: User, alices_team: Team) -> None:
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    with pytest.raises(NotAllowedError):
        invitations.invite(actor, "guest@example.com", Role.OWNER)


def test_another_teams_invitation_is_out_of_reach(owner: Actor, charlie: User) -> None:
    invitation, _ = invitations.invite(owner, "guest@example.com", Role.DEVELOPER)
    outsider = Actor(team=charlie.teams.get(), user=charlie, role=Role.OWNER)
    with pytest.raises(NotAllowedError):
        invitations.withdraw(outsider, invitation)


@pytest.mark.django_db(transaction=True)
def test_accepted_many_times_at_once_it_makes_one_member(owner: Actor, charlie: User) -> None:
    invitation, _ = invitations.invite(owner, charlie.email, Role.DEVELOPER)
    start = threading.Barrier(5)
    refused: list[Exception] = []

    def accept() -> None:
        start.wait()
        try:
            invitations.accept(Invitation.objects.get(pk=invitation.pk), charlie)
        except AccountsError as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=accept) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(error) for error in refused] == [InvitationClosedError] * 4
    assert owner.team.memberships.filter(user=charlie).count() == 1
