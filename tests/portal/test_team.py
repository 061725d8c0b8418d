"""The team's pages: members, roles, names, leaving, and who may do what."""

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.api_keys import find_active
from accounts.models import AuditEntry, Invitation, Membership, Role, Team, User
from api.account_opening import open_team
from billing.models import CreditAccount, KeySpend
from tests.cast import issue, member, signed_in
from tests.support.sampling import half_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(alice: User) -> Team:
    """A shared team of Alice's."""
    return open_team(alice, "Shared")


def member_of(team: Team, role: str, name: str = "") -> User:
    """Return a new user who is in the team."""
    user, _ = member(f"{name or role}@example.com", "a secret of theirs", name or role)
    Membership.objects.create(user=user, team=team, role=role)
    return user


def browser_in(team: Team, user: User) -> Client:
    """Return a browser in which the user acts for the team."""
    browser = signed_in(user)
    browser.post("/team/switch", {"team": team.slug})
    return browser


def spend(team: Team, maker: User | None, nanos: int) -> None:
    today = timezone.now().date()
    key = issue(team, maker).key
    KeySpend.objects.create(
        key=key, day=today, month=today.replace(day=1), month_nanos=nanos, total_nanos=nanos
    )


def test_members_are_listed_with_role_and_spend(team: Team, alice: User) -> None:
    developer = member_of(team, Role.DEVELOPER, "Dev")
    spend(team, developer, 2_000_000_000)
    spend(team, developer, 500_000_000)
    spend(team, alice, 30_000_000)
    spend(team, None, 70_000_000)
    page = browser_in(team, alice).get("/team").content.decode()
    row = re.search(r"<tr>(?:(?!<tr>).)*Dev@example\.com.*?</tr>", page, re.S | re.I).group()
    assert "Developer" in row
    assert re.findall(r'<td class="number">([^<\n]+)<', row)[:2] == ["2", "$2.50"]
    assert "$2.60 spent this month" in page
    assert re.search(r"former members.*?\$0\.07", page, re.S)


def test_last_months_spend_and_other_teams_do_not_count(
    alices_team: Team, team: Team, alice: User
) -> None:
    spend(alices_team, alice, 9_000_000_000)
    spend(team, alice, 7_000_000_000)
    KeySpend.objects.filter(key__team=team).update(month="2020-01-01")
    page = browser_in(team, alice).get("/team").content.decode()
    assert "$0.00 spent this month" in page
    assert "$9.00" not in page


def test_two_hundred_members_take_no_more_queries(
    team: Team, alice: User, django_assert_max_num_queries: Any
) -> None:
    users = User.objects.bulk_create(User(email=f"m{n}@example.com") for n in range(200))
    Membership.objects.bulk_create(Membership(user=user, team=team) for user in users)
    Invitation.objects.bulk_create(
        Invitation(
            team=team,
            email=f"g{n}@example.com",
            role="admin",
            digest=b"%d" % n,
            expires_at=timezone.now(),
            invited_by=alice,
        )
        for n in range(50)
    )
    browser = browser_in(team, alice)
    one = team.memberships.order_by("-id").first()
    assert one is not None
    for path in ("/team", f"/team/members/{one.pk}", "/team/audit", "/team/settings", "/settings"):
        with django_assert_max_num_queries(15):
            assert browser.get(path).status_code == 200, path


HOSTILE = "<script>alert(1)</script>\u202eevil\u0007 {{ 7|add:7 }}"


def test_hostile_names_are_shown_as_text(team: Team, alice: User) -> None:
    user = member_of(team, Role.DEVELOPER)
    User.objects.filter(pk=user.pk).update(name=HOSTILE)
    Team.objects.filter(pk=team.pk).update(name=HOSTILE)
    one = Membership.objects.get(user=user, team=team)
    AuditEntry.objects.create(
        team=team, actor_label=HOSTILE, action=HOSTILE[:60], subject=HOSTILE, detail={HOSTILE: "x"}
    )
    browser = browser_in(team, alice)
    for path in ("/team", f"/team/members/{one.pk}", "/team/audit", "/team/settings", "/settings"):
        page = browser.get(path).content.decode()
        assert "<script>alert" not in page, path
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page, path


PAGES = [
    # path, then who may: owner, admin, developer, billing
    ("get", "/team", (200, 200, 200, 200)),
    ("get", "/team/settings", (200, 200, 200, 200)),
    ("get", "/team/new", (200, 200, 200, 200)),
    ("get", "/team/audit", (200, 200, 403, 403)),
    ("get", "/team/members/{target}", (200, 200, 403, 403)),
    ("post", "/team/settings", (422, 422, 403, 403)),
    ("post", "/team/members/{target}", (422, 422, 403, 403)),
    ("post", "/team/members/{owner}", (422, 403, 403, 403)),
    ("post", "/team/members/{owner}/remove", (302, 403, 403, 403)),
    ("post", "/team/members/{target}/remove", (302, 302, 403, 403)),
    ("post", "/team/invitations", (422, 422, 403, 403)),
    ("post", "/team/invitations/{invitation}/resend", (302, 302, 403, 403)),
    ("post", "/team/invitations/{invitation}/withdraw", (302, 302, 403, 403)),
    ("post", "/team/leave", (302, 302, 302, 302)),
]


@pytest.mark.parametrize(("method", "path", "statuses"), PAGES)
@pytest.mark.parametrize("place", half_of("each role does its part", range(4)))
def test_each_role_sees_and_does_its_part(
    team: Team, alice: User, method: str, path: str, statuses: tuple[int, ...], place: int
) -> None:
    actor = member_of(team, list(Role)[place], "actor")
    target = Membership.objects.get(team=team, user=member_of(team, Role.DEVELOPER, "target"))
    owner = Membership.objects.get(team=team, user=alice)
    invitation = Invitation.objects.create(
        team=team, email="g@example.com", role="admin", digest=b"1", expires_at=timezone.now()
    )
    url = path.format(target=target.pk, owner=owner.pk, invitation=invitation.pk)
    status = statuses[place]
    outsider, _ = member("outsider@example.com", "a secret of theirs", "Outsider")
    if "{" in path:  # another team's object is none
        assert getattr(signed_in(outsider), method)(url).status_code == 404
    signed_out = getattr(Client(), method)(url)
    assert signed_out.status_code == 302
    assert signed_out["Location"].startswith("/accounts/login/")
    assert getattr(browser_in(team, actor), method)(url).status_code == status


def test_a_role_is_changed_and_written_down(team: Team, alice: User) -> None:
    one = Membership.objects.get(team=team, user=member_of(team, Role.DEVELOPER))
    browser = browser_in(team, alice)
    answer = browser.post(f"/team/members/{one.pk}", {"role": "billing"}, REMOTE_ADDR="192.0.2.9")
    assert answer.status_code == 302
    one.refresh_from_db()
    assert one.role == Role.BILLING
    entry = AuditEntry.objects.get(action="member.role_changed")
    assert (entry.actor, entry.ip_address) == (alice, "192.0.2.9")
    assert entry.detail == {"from": "developer", "to": "billing"}


def test_a_role_that_is_not_offered_is_an_error_at_its_field(team: Team, alice: User) -> None:
    one = Membership.objects.get(team=team, user=member_of(team, Role.DEVELOPER))
    answer = browser_in(team, alice).post(f"/team/members/{one.pk}", {"role": "emperor"})
    assert answer.status_code == 422
    assert 'id="role_error"' in answer.content.decode()


def test_an_admin_is_not_offered_ownership(team: Team) -> None:
    one = Membership.objects.get(team=team, user=member_of(team, Role.DEVELOPER))
    browser = browser_in(team, member_of(team, Role.ADMIN))
    assert 'value="owner"' not in browser.get(f"/team/members/{one.pk}").content.decode()
    assert browser.post(f"/team/members/{one.pk}", {"role": "owner"}).status_code == 422


def test_a_removed_member_loses_access_and_their_key_works_on(team: Team, alice: User) -> None:
    user = member_of(team, Role.DEVELOPER)
    key = issue(team, user)
    theirs = browser_in(team, user)
    one = Membership.objects.get(team=team, user=user)
    page = browser_in(team, alice).get(f"/team/members/{one.pk}").content.decode()
    assert "That’s 1 key." in re.sub(r"\s+", " ", page)
    answer = browser_in(team, alice).post(f"/team/members/{one.pk}/remove", follow=True)
    assert "was removed from the team" in answer.content.decode()
    assert "Shared" not in theirs.get("/team").content.decode()
    assert find_active(key.plaintext) == key.key


def test_the_last_owner_is_told_why_they_cannot_leave(team: Team, alice: User) -> None:
    answer = browser_in(team, alice).post("/team/leave", follow=True)
    assert "A team needs an owner" in answer.content.decode()
    assert team.memberships.filter(user=alice).exists()


def test_who_leaves_is_back_in_their_own_team(team: Team) -> None:
    user = member_of(team, Role.BILLING)
    answer = browser_in(team, user).post("/team/leave", follow=True)
    assert "You have left Shared." in answer.content.decode()
    assert not team.memberships.filter(user=user).exists()


def test_a_personal_team_offers_no_way_out(alice: User) -> None:
    browser = signed_in(alice)
    assert "leave-dialog" not in browser.get("/team/settings").content.decode()
    assert browser.post("/team/leave").status_code == 403


def test_a_new_team_has_an_account_and_is_acted_for(alice: User) -> None:
    browser = signed_in(alice)
    answer = browser.post("/team/new", {"name": "  Atlas\r\n Research "}, follow=True)
    made = Team.objects.get(name="Atlas Research")
    assert CreditAccount.objects.get(team=made).posted_nanos == 0
    assert made.memberships.get().role == Role.OWNER
    assert not made.is_personal
    assert '<h1 dir="auto">Atlas Research</h1>' in answer.content.decode()
    assert AuditEntry.objects.get(team=made).action == "team.created"


@pytest.mark.parametrize("name", ["", "   ", "x" * 121, "a\0b"])
def test_a_name_that_is_none_is_an_error_at_its_field(alice: User, name: str) -> None:
    browser = signed_in(alice)
    for path in ("/team/new", "/team/settings"):
        answer = browser.post(path, {"name": name})
        assert answer.status_code == 422
        assert 'id="id_name_error"' in answer.content.decode()


def test_a_team_is_renamed(team: Team, alice: User) -> None:
    browser_in(team, alice).post("/team/settings", {"name": "Other"})
    team.refresh_from_db()
    assert (team.name, team.slug) == ("Other", "shared")
    assert AuditEntry.objects.get(action="team.renamed").subject == "Other"


def test_actions_ask_for_a_csrf_token(team: Team, alice: User) -> None:
    browser = signed_in(alice, enforce_csrf_checks=True)
    for path in ("/team/leave", "/team/new", "/team/invitations", "/settings", "/settings/delete"):
        assert browser.post(path, {"name": "x"}).status_code == 403, path


def test_actions_are_post_alone(team: Team, alice: User) -> None:
    browser = browser_in(team, alice)
    for path in ("/team/leave", "/team/members/1/remove", "/team/invitations", "/team/switch"):
        assert browser.get(path).status_code == 405, path
