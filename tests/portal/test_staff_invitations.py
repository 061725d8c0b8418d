"""Inviting staff: owners alone, to roles that can do no more than they; accepted once."""

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.utils import timezone

from accounts import staff_invitations
from accounts.errors import NotAllowedError
from accounts.models import StaffInvitation, User
from tests.cast import everything_in_the_database, signed_in

pytestmark = pytest.mark.django_db

URL = "/admin/staff"


def staff_of(role: str) -> User:
    user = User.objects.create_user(f"{role.lower()}@example.com", is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return user


@pytest.fixture
def owner() -> User:
    return staff_of("Owner")


@pytest.fixture
def guest(alice: User) -> User:
    """Alice, a customer, whose address is verified."""
    EmailAddress.objects.filter(user=alice).update(verified=True)
    return alice


def invite(user: User, email: str = "alice@example.com", role: str = "Support") -> Any:
    form = {"email": email, "role": Group.objects.get(name=role).pk}
    return signed_in(user).post(URL, form)


def link(owner: User, mailoutbox: list[Any], **options: str) -> str:
    """Return the path of the link in the email to somebody whom the owner invites."""
    assert invite(owner, **options).status_code == 302
    found = re.search(r"http://127\.0\.0\.1:8000(/admin/join/\S+)", mailoutbox[-1].body)
    assert found
    return found[1]


def powers(user: User) -> tuple[bool, bool, list[str], int]:
    user = User.objects.get(pk=user.pk)
    names = list(user.groups.values_list("name", flat=True))
    return user.is_staff, user.is_superuser, names, user.user_permissions.count()


def test_the_guest_becomes_staff_with_the_role_and_no_more(
    owner: User, guest: User, mailoutbox: list[Any]
) -> None:
    guest.groups.set([Group.objects.get(name="Finance")])  # of their last time as staff
    guest.user_permissions.set(Permission.objects.filter(codename="change_order"))
    path = link(owner, mailoutbox)
    browser = signed_in(guest)
    assert "as <strong>Support</strong>" in browser.get(path).content.decode()
    assert not powers(guest)[0], "before they accept"
    answer = browser.post(path)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert powers(guest) == (True, False, ["Support"], 0)
    log = LogEntry.objects.order_by("pk").values_list("user__email", "change_message")
    assert list(log) == [("owner@example.com", "Invited."), ("alice@example.com", "Accepted.")]
    assert browser.post(path).status_code == 410
    assert "Accepted" in signed_in(owner).get(URL).content.decode()


def test_the_second_factor_is_still_required(
    owner: User, guest: User, mailoutbox: list[Any], settings: Any
) -> None:
    path = link(owner, mailoutbox)
    settings.STAFF_SECOND_FACTOR = True
    browser = signed_in(guest)
    assert browser.post(path).status_code == 302
    answer = browser.get("/admin/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/login/?next=/admin/")
    assert browser.get(answer["Location"])["Location"] == "/accounts/2fa/"


def test_the_email_alone_has_the_link(owner: User, mailoutbox: list[Any]) -> None:
    token = link(owner, mailoutbox).rpartition("/")[2]
    (email,) = mailoutbox
    assert email.to == ["alice@example.com"]
    assert token in email.alternatives[0][0]
    assert token not in signed_in(owner).get(URL).content.decode()
    assert token not in everything_in_the_database()


@pytest.mark.parametrize("role", ["Support", "Finance", "Operator", "Auditor"])
def test_no_other_role_invites_or_withdraws(role: str, owner: User) -> None:
    invite(owner)
    made = StaffInvitation.objects.get()
    user = staff_of(role)
    assert invite(user, "bob@example.com", role).status_code == 403
    assert signed_in(user).post(f"{URL}/{made.pk}/withdraw").status_code == 403
    assert StaffInvitation.objects.get().state == "pending"


def test_all_other_permissions_together_invite_nobody(guest: User) -> None:
    guest.is_staff = True
    guest.save()
    guest.user_permissions.set(Permission.objects.exclude(codename="invite_staff"))
    assert invite(guest, "bob@example.com").status_code == 403
    assert signed_in(guest).get("/admin/accounts/staffinvitation/add/").status_code == 403
    assert not StaffInvitation.objects.exists()


def test_nobody_invites_to_more_than_they_can_do(guest: User) -> None:
    guest.is_staff = True
    guest.save()
    guest.user_permissions.set(Permission.objects.filter(codename="invite_staff"))
    guest.groups.set([Group.objects.get(name="Auditor")])
    user = User.objects.get(pk=guest.pk)
    assert [role.name for role in staff_invitations.roles_offered_by(user)] == ["Auditor"]
    assert invite(guest, "bob@example.com", "Owner").status_code == 200  # the form, with an error
    with pytest.raises(NotAllowedError):
        staff_invitations.invite(user, "bob@example.com", Group.objects.get(name="Owner"))
    assert not StaffInvitation.objects.exists()


def expire(made: StaffInvitation, owner: User) -> None:
    StaffInvitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def withdraw(made: StaffInvitation, owner: User) -> None:
    assert signed_in(owner).post(f"{URL}/{made.pk}/withdraw").status_code == 302
    assert LogEntry.objects.latest("pk").change_message == "Withdrawn."


def demote_inviter(made: StaffInvitation, owner: User) -> None:
    owner.groups.set([Group.objects.get(name="Support")])


def dismiss_inviter(made: StaffInvitation, owner: User) -> None:
    User.objects.filter(pk=owner.pk).update(is_staff=False)


def enlarge_role(made: StaffInvitation, owner: User) -> None:
    made.role.permissions.add(Permission.objects.get(codename="change_group"))


@pytest.mark.parametrize(
    "end",
    [expire, withdraw, demote_inviter, dismiss_inviter, enlarge_role],
    ids=lambda f: f.__name__,
)
def test_an_invitation_that_has_ended_makes_nobody_staff(
    end: Any, owner: User, guest: User, mailoutbox: list[Any]
) -> None:
    path = link(owner, mailoutbox)
    end(StaffInvitation.objects.get(), owner)
    assert signed_in(guest).post(path).status_code == 410
    assert not powers(guest)[0]


def test_it_is_for_the_verified_address_alone(
    owner: User, guest: User, charlie: User, mailoutbox: list[Any]
) -> None:
    path = link(owner, mailoutbox)
    EmailAddress.objects.filter(user=charlie).update(verified=True)
    assert signed_in(charlie).post(path).status_code == 403
    EmailAddress.objects.filter(user=guest).update(verified=False)
    assert signed_in(guest).post(path).status_code == 403
    assert Client().post(path).status_code == 200, "which asks to sign in"
    assert not User.objects.filter(pk__in=[guest.pk, charlie.pk], is_staff=True).exists()


def test_staff_and_superusers_stay_what_they_are(
    owner: User, guest: User, mailoutbox: list[Any]
) -> None:
    path = link(owner, mailoutbox)
    User.objects.filter(pk=guest.pk).update(is_superuser=True)
    assert signed_in(guest).post(path)["Location"] == path
    assert powers(guest) == (False, True, [], 0)
    assert "is staff already" in invite(owner, "owner@example.com").content.decode()


def test_an_address_has_one_open_invitation(owner: User) -> None:
    invite(owner)
    assert "already invited" in invite(owner, "Alice@Example.com", "Finance").content.decode()
    expire(StaffInvitation.objects.get(), owner)
    assert invite(owner, role="Finance").status_code == 302
    states = [each.state for each in StaffInvitation.objects.order_by("pk")]
    assert states == ["withdrawn", "pending"]


def test_the_link_opens_a_closed_sign_up_for_its_address(
    owner: User, mailoutbox: list[Any], settings: Any
) -> None:
    path = link(owner, mailoutbox, email="new@example.com")
    settings.SIGNUP_OPEN = False
    browser = Client()
    form = {"email": "other@example.com", "password1": "Long horse 12", "name": "New"}
    assert "create an account with that address" in browser.get(path).content.decode()
    browser.post("/accounts/signup/", form)
    assert not User.objects.filter(email="other@example.com").exists()
    answer = browser.post("/accounts/signup/", {**form, "email": "new@example.com"})
    assert answer.status_code == 302
    assert powers(User.objects.get(email="new@example.com")) == (False, False, [], 0)


def test_an_email_that_fails_is_reported(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError

    monkeypatch.setattr("portal.emails.sending.send", fail)
    form = {"email": "alice@example.com", "role": Group.objects.get(name="Support").pk}
    page = signed_in(owner).post(URL, form, follow=True).content.decode()
    assert "send the email. Withdraw the invitation" in page
    assert "Pending" in page


def test_no_one_confirms_for_whom_they_invited_or_were_invited_by(owner: User, guest: User) -> None:
    other, role = staff_of("Finance"), Group.objects.get(name="Finance")
    invitation, token = staff_invitations.invite(owner, guest.email, role)
    assert staff_invitations.is_second_person(guest, owner.pk)  # not yet accepted
    StaffInvitation.objects.filter(pk=invitation.pk).update(
        accepted_by=guest, accepted_at=timezone.now()
    )
    assert token
    for one, another in [(owner, guest), (guest, owner), (owner, owner)]:
        assert not staff_invitations.is_second_person(one, another.pk)
    for one, another in [(owner, other), (other, guest)]:
        assert staff_invitations.is_second_person(one, another.pk)
    assert staff_invitations.is_second_person(owner, None)  # the requester's account was deleted
