"""Deleting a user: the person goes, the books stay."""

from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.utils import timezone

from accounts.api_keys import find_active
from accounts.deletion import consequences_for, delete_user, user_deleted
from accounts.errors import SharedTeamError
from accounts.models import (
    ApiKey,
    AuditEntry,
    DeviceSignIn,
    Invitation,
    Membership,
    Role,
    StaffInvitation,
    Team,
    User,
)
from accounts.teams import create_team
from billing.ledger import postings
from billing.models import CreditAccount, Transfer
from tests.cast import IssuedKey, signed_in

pytestmark = pytest.mark.django_db


def test_nothing_personal_is_left_and_nobody_signs_in(alice: User) -> None:
    browser = signed_in(alice)
    assert browser.get("/dashboard").status_code == 200
    session_key = browser.session.session_key
    UserSession.objects.create(user=alice, session_key=session_key, ip="192.0.2.7")
    delete_user(alice)
    alice.refresh_from_db()
    assert alice.email == f"deleted-{alice.pk}@invalid"
    assert alice.name == ""
    assert not alice.is_active
    assert not alice.has_usable_password()
    assert not EmailAddress.objects.exists()
    assert not Session.objects.exists()
    assert not alice.memberships.exists()
    assert browser.get("/dashboard").status_code == 302
    assert "alice" not in f"{Team.objects.values_list('name', 'slug').get()}".lower()


def test_the_books_and_the_keys_rows_stay_and_the_keys_are_refused(
    alice: User, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    postings.grant(alices_account, 10**9, reference="test")
    delete_user(alice)
    alices_account.refresh_from_db()
    assert alices_account.posted_nanos == 10**9
    assert Transfer.objects.filter(customer=alices_account).count() == 1
    assert find_active(alices_key.plaintext) is None
    assert ApiKey.objects.get().created_by == alice


def test_the_devices_that_were_signed_in_and_the_invitation_to_staff_are_forgotten(
    alice: User, bob: User, alices_key: IssuedKey
) -> None:
    now = timezone.now()
    for digest, key in ((b"a", alices_key.key), (b"b", None)):
        DeviceSignIn.objects.create(
            device_digest=digest, ip_address="192.0.2.7", key=key, expires_at=now
        )
    # To another of her addresses.
    StaffInvitation.objects.create(
        email="ally@example.com",
        role=Group.objects.get(name="Support"),
        digest=b"a",
        expires_at=now,
        accepted_at=now,
        accepted_by=alice,
    )
    delete_user(bob)
    assert DeviceSignIn.objects.count() == 2
    delete_user(alice)
    assert DeviceSignIn.objects.get().key is None
    assert not StaffInvitation.objects.exists()


def test_the_address_is_free_again(alice: User) -> None:
    delete_user(alice)
    assert User.objects.create_user("alice@example.com") != alice


def test_who_alone_owns_a_shared_team_is_kept(alice: User, bob: User) -> None:
    shared = create_team("Shared", owner=alice)
    Membership.objects.create(user=bob, team=shared, role=Role.ADMIN)
    before = list(User.objects.order_by("pk").values())
    with pytest.raises(SharedTeamError, match="Shared"):
        delete_user(alice)
    assert list(User.objects.order_by("pk").values()) == before
    assert set(consequences_for(alice).blocking) == {shared, alice.teams.get(is_personal=True)}


def test_a_team_with_another_owner_goes_on(
    alice: User, bob: User, alices_team: Team, bobs_key: IssuedKey
) -> None:
    shared = create_team("Shared", owner=alice)
    Membership.objects.create(user=bob, team=shared, role=Role.OWNER)
    delete_user(bob)
    assert list(shared.members.all()) == [alice]
    assert find_active(bobs_key.plaintext) == bobs_key.key
    entries = AuditEntry.objects.filter(team__in=[shared, alices_team])
    assert {(entry.action, entry.subject) for entry in entries} == {
        ("member.left", "bob@example.com")
    }


def test_a_team_of_one_ends_with_its_keys_and_invitations(alice: User) -> None:
    alone = create_team("Alone", owner=alice)
    assert consequences_for(alice).ending == [*alice.teams.filter(is_personal=True), alone]
    invitation = Invitation.objects.create(
        team=alone, email="x@example.com", role="admin", digest=b"1", expires_at=alone.created_at
    )
    delete_user(alice)
    invitation.refresh_from_db()
    assert invitation.revoked_at is not None


def test_other_apps_are_told_in_the_same_transaction(alice: User) -> None:
    def fail(**_facts: Any) -> None:
        raise RuntimeError("cannot forget")

    user_deleted.connect(fail)
    try:
        with pytest.raises(RuntimeError, match="cannot forget"):
            delete_user(alice)
    finally:
        user_deleted.disconnect(fail)
    alice.refresh_from_db()
    assert alice.email == "alice@example.com"
    assert alice.is_active
