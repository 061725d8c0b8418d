"""Inviting by email, and accepting."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Invitation, Role, Team, User
from api.account_opening import open_team
from tests.cast import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(alice: User) -> Team:
    return open_team(alice, "Shared")


@pytest.fixture
def team_browser(team: Team, alice: User) -> Client:
    """A browser of Alice, who acts for the shared team."""
    client = signed_in(alice)
    client.post("/team/switch", {"team": team.slug})
    return client


def invite(browser: Client, email: str, role: str = "developer") -> Any:
    return browser.post("/team/invitations", {"email": email, "role": role})


def link_in(email: Any) -> str:
    """Return the path of the invitation that an email leads to."""
    return re.search(r"http://127\.0\.0\.1:8000(/invitations/\S+)", email.body)[1]


def test_the_email_alone_has_the_link(team_browser: Client, mailoutbox: list[Any]) -> None:
    assert invite(team_browser, "charlie@example.com", "admin").status_code == 302
    (email,) = mailoutbox
    assert email.to == ["charlie@example.com"]
    assert email.subject == "alice@example.com invited you to Shared on Tollgate"
    assert 'to the team "Shared" as admin' in email.body
    link = link_in(email)
    html, _ = email.alternatives[0]
    assert link in html
    assert link not in team_browser.get("/team").content.decode()


def test_hostile_names_stay_text_in_the_email(
    team_browser: Client, team: Team, mailoutbox: list[Any]
) -> None:
    Team.objects.filter(pk=team.pk).update(name="<b>A & B</b>\nBcc: x@example.com")
    invite(team_browser, "charlie@example.com")
    (email,) = mailoutbox
    assert email.message()["Bcc"] is None
    assert "<b>A & B</b> Bcc: x@example.com" in email.subject
    assert "<b>A & B</b>" in email.body
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in email.alternatives[0][0]


def test_a_forged_host_does_not_reach_the_email(
    team_browser: Client, mailoutbox: list[Any], settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    form = {"email": "charlie@example.com", "role": "developer"}
    team_browser.post("/team/invitations", form, HTTP_HOST="evil.example")
    assert "evil.example" not in mailoutbox[0].body


def test_the_invited_user_joins(
    team_browser: Client, team: Team, charlie: User, mailoutbox: list[Any]
) -> None:
    invite(team_browser, "charlie@example.com", "billing")
    theirs = signed_in(charlie)
    link = link_in(mailoutbox[0])
    page = theirs.get(link)
    assert "no-store" in page["Cache-Control"]
    assert "Join the team" in page.content.decode()
    assert not team.memberships.filter(user=charlie).exists()
    answer = theirs.post(link, follow=True)
    assert '<h1 dir="auto">Shared</h1>' in answer.content.decode()
    assert team.memberships.get(user=charlie).role == Role.BILLING
    assert theirs.post(link).status_code == 410


def test_who_is_signed_out_signs_in_or_up_first_and_comes_back(
    team_browser: Client, mailoutbox: list[Any]
) -> None:
    invite(team_browser, "charlie@example.com")
    link = link_in(mailoutbox[0])
    page = Client().get(link).content.decode()
    escaped = link.replace("/", "%2F")
    assert f'href="/accounts/login/?next={escaped}"' in page
    assert f'href="/accounts/signup/?next={escaped}"' in page
    assert "Join the team" not in page
    assert Client().post(link).status_code == 200  # which asks the same again
    assert Invitation.objects.get().accepted_at is None


def test_another_users_address_is_refused_with_both_named(
    team_browser: Client, team: Team, charlie: User, mailoutbox: list[Any]
) -> None:
    invite(team_browser, "dora@example.com")
    link = link_in(mailoutbox[0])
    theirs = signed_in(charlie)
    for answer in (theirs.get(link), theirs.post(link)):
        assert answer.status_code == 403
        page = answer.content.decode()
        assert "dora@example.com" in page
        assert "charlie@example.com" in page
    assert not team.memberships.filter(user=charlie).exists()


@pytest.mark.parametrize("token", ["x", "é", "a" * 500, "%00"])
def test_a_token_that_is_none_opens_nothing(client: Client, db: None, token: str) -> None:
    answer = client.get(f"/invitations/{token}")
    assert answer.status_code == 410
    assert "Ask the team for a new one" in answer.content.decode()


def test_an_expired_invitation_says_so_and_is_sent_again(
    team_browser: Client, charlie: User, mailoutbox: list[Any]
) -> None:
    invite(team_browser, "charlie@example.com")
    Invitation.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    old = link_in(mailoutbox[0])
    assert "It has expired" in signed_in(charlie).get(old).content.decode()
    assert "Expired" in team_browser.get("/team").content.decode()
    team_browser.post(f"/team/invitations/{Invitation.objects.get().pk}/resend")
    assert signed_in(charlie).get(old).status_code == 410
    assert signed_in(charlie).get(link_in(mailoutbox[1])).status_code == 200


def test_a_withdrawn_invitation_is_gone(
    team_browser: Client, charlie: User, mailoutbox: list[Any]
) -> None:
    invite(team_browser, "charlie@example.com")
    number = Invitation.objects.get().pk
    team_browser.post(f"/team/invitations/{number}/withdraw")
    assert "It was withdrawn" in signed_in(charlie).get(link_in(mailoutbox[0])).content.decode()
    assert (
        "charlie@example.com" not in team_browser.get("/team").content.decode().split("Invite")[1]
    )
    answer = team_browser.post(f"/team/invitations/{number}/resend", follow=True)
    assert "already been accepted or withdrawn" in answer.content.decode()
    assert len(mailoutbox) == 1


@pytest.mark.parametrize(
    ("email", "says"),
    [
        ("", "This field is required"),
        ("no address", "Enter a valid email address"),
        ("ALICE@example.com", "is already in the team"),
        ("twice@example.com", "is already invited"),
        ("a" * 250 + "@example.com", "at most 254"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_at_its_field(
    team_browser: Client, mailoutbox: list[Any], email: str, says: str
) -> None:
    invite(team_browser, "twice@example.com")
    answer = invite(team_browser, email)
    assert answer.status_code == 422
    error = re.search(r'id="id_email_error">(.*?)</div>', answer.content.decode(), re.S)[1]
    assert says in error
    assert len(mailoutbox) == 1


def test_a_mail_server_that_is_away_is_no_crash(
    team_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("portal.emails.sending.send", refuse)
    answer = team_browser.post(
        "/team/invitations", {"email": "charlie@example.com", "role": "admin"}, follow=True
    )
    assert "send the email" in answer.content.decode()
    assert Invitation.objects.get().email == "charlie@example.com"


def test_many_emails_are_too_many(
    team_browser: Client, mailoutbox: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.team.views.EMAILS_PER_USER", "2/h")
    answers = [invite(team_browser, f"g{number}@example.com") for number in range(3)]
    assert [answer.status_code for answer in answers] == [302, 302, 429]
    assert "Try again in an hour" in answers[-1].content.decode()
    assert len(mailoutbox) == 2
