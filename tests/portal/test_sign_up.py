"""Signing up: an account, a code, a team with a credit account; and nothing told to strangers."""

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import invitations, teams
from accounts.access import Actor
from accounts.models import Membership, Role, Team, User
from billing.models import CreditAccount
from tests.portal.sent_emails import code_to, last_to, link_to

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
VERIFY = "/accounts/confirm-email/"


def sign_up(client: Client, email: str, password: str = PASSWORD, **headers: Any) -> Any:
    return client.post("/accounts/signup/", {"email": email, "password1": password}, **headers)


def page_without_tokens(client: Client, path: str, email: str) -> str:
    """Return a page without what differs by itself: the address and the tokens of forms."""
    page = client.get(path).content.decode().replace(email, "ADDRESS")
    return re.sub(r'(csrfmiddlewaretoken" value|x-csrftoken)[^>]*', "", page)


def test_a_code_verifies_the_address_and_opens_a_team_with_a_credit_account(client: Client) -> None:
    assert sign_up(client, "New@Example.com")["Location"] == VERIFY
    assert client.get("/dashboard").status_code == 302, "nobody is signed in before the code"
    response = client.post(VERIFY, {"code": code_to("new@example.com")})
    assert response["Location"] == "/dashboard"
    assert client.get("/dashboard").status_code == 200
    membership = Membership.objects.get(user__email="new@example.com")
    assert (membership.role, membership.team.is_personal) == (Role.OWNER, True)
    assert CreditAccount.objects.get(team=membership.team).posted_nanos == 0
    assert EmailAddress.objects.get().verified


def test_a_wrong_code_is_an_error_beside_the_field_and_the_third_ends_it(client: Client) -> None:
    sign_up(client, "new@example.com")
    wrong = "000000" if code_to("new@example.com") != "000000" else "000001"
    page = client.post(VERIFY, {"code": wrong}).content.decode()
    assert 'id="id_code_error"' in page
    assert "Incorrect code" in page
    client.post(VERIFY, {"code": wrong})
    assert client.post(VERIFY, {"code": wrong})["Location"] == "/accounts/login/"
    assert client.post(VERIFY, {"code": code_to("new@example.com")}).status_code == 302
    assert not EmailAddress.objects.get().verified


@pytest.fixture
def no_pause(settings: Any) -> None:
    """Let a new code be asked for at once."""
    settings.ACCOUNT_RATE_LIMITS = {**settings.ACCOUNT_RATE_LIMITS, "confirm_email": None}


@pytest.mark.usefixtures("no_pause")
def test_a_new_code_replaces_the_first(client: Client) -> None:
    sign_up(client, "new@example.com")
    client.post(VERIFY, {"action": "resend"})
    assert len(mail.outbox) == 2
    assert client.post(VERIFY, {"code": code_to("new@example.com")})["Location"] == "/dashboard"


def test_an_address_in_use_looks_the_same_and_its_owner_is_told(alice: User) -> None:
    known, unknown = Client(), Client()
    answers = [sign_up(known, alice.email), sign_up(unknown, "new@example.com")]
    assert {(each.status_code, each["Location"]) for each in answers} == {(302, VERIFY)}
    assert page_without_tokens(known, VERIFY, alice.email) == page_without_tokens(
        unknown, VERIFY, "new@example.com"
    )
    known.post(VERIFY, {"code": "123456"})
    unknown.post(VERIFY, {"code": "123456"})
    assert page_without_tokens(known, VERIFY, alice.email) == page_without_tokens(
        unknown, VERIFY, "new@example.com"
    )
    assert "already has an account" in last_to(alice.email).body
    assert link_to(alice.email, "password/reset") == "/accounts/password/reset/"
    assert User.objects.filter(email=alice.email).count() == 1


def test_codes_are_sent_so_often_alike_for_both(alice: User) -> None:
    for email in (alice.email, "new@example.com"):
        client = Client()
        sign_up(client, email)
        assert client.post(VERIFY, {"action": "resend"}).status_code == 429


def test_who_loses_a_race_for_an_address_is_answered_as_if_it_were_taken(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(*_: Any, **__: Any) -> None:
        raise IntegrityError("user_email_unique")

    monkeypatch.setattr("portal.sign_in.adapter.open_books", taken)
    assert sign_up(client, "new@example.com")["Location"] == VERIFY
    assert not User.objects.exists()
    assert not Team.objects.exists()


@pytest.mark.parametrize(
    ("email", "password", "complaint"),
    [
        ("not an address", PASSWORD, "valid email address"),
        ("new@example.com", "12345678", "entirely numeric"),
        ("new@example.com", "short", "too short"),
        ("new@trash.example", PASSWORD, "Disposable email addresses"),
        ("new@a.TRASH.example", PASSWORD, "Disposable email addresses"),
    ],
)
def test_what_is_wrong_is_said_beside_the_field(
    client: Client, settings: Any, email: str, password: str, complaint: str
) -> None:
    settings.DISPOSABLE_EMAIL_DOMAINS = {"trash.example"}
    page = sign_up(client, email, password).content.decode()
    assert re.search(rf'class="error">.*{complaint}', page)
    assert not User.objects.exists()


def test_a_closed_sign_up_makes_nobody_and_says_so(client: Client, settings: Any) -> None:
    settings.SIGNUP_OPEN = False
    assert "Sign-up is closed" in client.get("/accounts/signup/").content.decode()
    assert "Sign-up is closed" in sign_up(client, "new@example.com").content.decode()
    assert not User.objects.exists()


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("path", ["/", "/docs", "/status", "/accounts/login/"])
def test_pages_offer_to_sign_up_where_one_can(
    client: Client, settings: Any, path: str, is_open: bool
) -> None:
    settings.SIGNUP_OPEN = is_open
    page = client.get(path).content.decode()
    assert "/accounts/login/" in page
    assert ("/accounts/signup/" in page) == is_open


def test_an_address_makes_so_many_accounts_a_day(client: Client, settings: Any) -> None:
    settings.SIGN_UPS_PER_DAY = 2
    for n in range(2):
        assert sign_up(Client(), f"user{n}@example.com").status_code == 302
    refused = sign_up(client, "user2@example.com")
    assert refused.status_code == 429
    assert int(refused["Retry-After"]) > 0
    assert "Try again in" in refused.content.decode()
    assert User.objects.count() == 2
    # One that is taken is refused alike, so that the limit does not tell of it.
    assert sign_up(Client(), "user0@example.com").status_code == 429
    assert sign_up(Client(), "u@example.com", REMOTE_ADDR="192.0.2.9").status_code == 302


@pytest.mark.usefixtures("no_pause")
def test_a_mail_server_that_is_away_is_said_and_a_new_code_can_be_asked_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise ConnectionRefusedError

    with monkeypatch.context() as patch:
        patch.setattr("portal.emails.sending.send", refuse)
        assert sign_up(client, "new@example.com")["Location"] == VERIFY
    assert "send the email" in client.get(VERIFY).content.decode()
    client.post(VERIFY, {"action": "resend"})
    assert client.post(VERIFY, {"code": code_to("new@example.com")})["Location"] == "/dashboard"


def test_a_user_whom_the_operator_made_without_a_password_can_choose_one(client: Client) -> None:
    teams.sign_up("made@example.com", None, is_verified=True)
    client.post("/accounts/password/reset/", {"email": "made@example.com"})
    form = client.get(link_to("made@example.com", "reset/key"), follow=True).request["PATH_INFO"]
    client.post(form, {"password1": PASSWORD, "password2": PASSWORD})
    login = {"login": "made@example.com", "password": PASSWORD}
    assert client.post("/accounts/login/", login)["Location"] == "/dashboard"


def test_known_and_new_addresses_take_the_same_work(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counted(password: str, **options: Any) -> str:
        hashed.append(password)
        return "hash"

    monkeypatch.setattr("django.contrib.auth.base_user.make_password", counted)
    users, work = User.objects.count(), []
    for email in (alice.email, "new@example.com"):
        hashed.clear()
        with CaptureQueriesContext(connection) as queries:
            assert sign_up(Client(), email).status_code == 302
        written = sum(each["sql"].startswith("INSERT") for each in queries)
        work.append((len(hashed), written))
    (known_hashes, known_writes), (new_hashes, new_writes) = work
    assert known_hashes == new_hashes == 1
    assert abs(known_writes - new_writes) <= 2
    assert User.objects.count() == users + 1
    assert not User.objects.filter(email__endswith=".invalid").exists()


def test_a_closed_sign_up_lets_the_invited_in(
    alice: User, alices_team: Team, settings: Any
) -> None:
    settings.SIGNUP_OPEN = False
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    _, token = invitations.invite(actor, "invited@example.com", Role.DEVELOPER)
    browser = Client()
    assert "Create an account" in browser.get(f"/invitations/{token}").content.decode()
    page = sign_up(browser, "somebody.else@example.com").content.decode()
    assert "address the invitation was sent to" in page
    assert sign_up(browser, "Invited@example.com")["Location"] == VERIFY
    assert browser.post(VERIFY, {"code": code_to("invited@example.com")}).status_code == 302
    browser.post(f"/invitations/{token}")
    assert alices_team.memberships.filter(user__email="invited@example.com").exists()
    assert "Sign-up is closed" in sign_up(Client(), "invited@example.com").content.decode()


def test_a_withdrawn_invitation_lets_nobody_in(
    alice: User, alices_team: Team, settings: Any
) -> None:
    settings.SIGNUP_OPEN = False
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    invitation, token = invitations.invite(actor, "invited@example.com", Role.DEVELOPER)
    browser = Client()
    browser.get(f"/invitations/{token}")
    invitations.withdraw(actor, invitation)
    assert "Sign-up is closed" in sign_up(browser, "invited@example.com").content.decode()
