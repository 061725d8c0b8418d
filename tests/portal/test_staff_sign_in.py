"""How staff get into the admin: by the customers' sign-in, and with a second factor."""

import itertools
import time
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.core import mail
from django.core.cache import cache
from django.test import Client

from accounts.models import User
from tests.cast import signed_in
from tests.portal.sent_emails import code_to
from tests.portal.test_sign_in import LOGIN, PASSWORD, add_totp, code_of, login

pytestmark = pytest.mark.django_db

ADMIN_LOGIN = "/admin/login/"
AUTHENTICATE = "/accounts/2fa/authenticate/"
CONFIRM = "/accounts/2fa/confirm-email"
REAUTHENTICATE = "/accounts/2fa/reauthenticate/"


@pytest.fixture(autouse=True)
def _with_second_factor(settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True


@pytest.fixture
def boss(db: None) -> User:
    """A superuser."""
    return User.objects.create_superuser("boss@example.com", PASSWORD)


def spellings(email: str, count: int) -> list[str]:
    """Return an address in as many spellings, by upper and lower case and spaces."""
    name, at, domain = email.partition("@")
    cases = itertools.product(*({each.lower(), each.upper()} for each in name))
    spelled = ("".join(letters) + at + domain for letters in cases)
    return [
        f" {each} " if n % 3 else each for n, each in enumerate(itertools.islice(spelled, count))
    ]


def test_the_limit_counts_the_account_however_it_is_spelled(boss: User) -> None:
    for n, email in enumerate(spellings(boss.email, 15)):
        page = Client(REMOTE_ADDR=f"192.0.2.{n}").post(
            f"{LOGIN}?next=/admin/", {"login": email, "password": "wrong"}
        )
        assert ("Try again in five minutes" in page.content.decode()) == (n >= 5), email
    assert b"Try again in five minutes" in login(Client(), boss.email).content


def test_the_admin_has_no_sign_in_of_its_own(client: Client, boss: User) -> None:
    assert client.get("/admin/")["Location"] == f"{ADMIN_LOGIN}?next=/admin/"
    fields = {"username": boss.email, "password": PASSWORD}
    for answer in (client.get(ADMIN_LOGIN), client.post(ADMIN_LOGIN, fields)):
        assert answer["Location"] == f"{LOGIN}?next=/admin/"
    assert client.get("/admin/").status_code == 302


def test_nothing_is_told_of_the_second_factor_before_the_password_is_right(boss: User) -> None:
    pages = []
    for has_second_factor in (False, True):
        if has_second_factor:
            add_totp(boss)
        for path in (LOGIN, ADMIN_LOGIN):
            fields = {"login": boss.email, "username": boss.email, "password": "wrong"}
            answer = Client().post(path, fields)
            pages.append((path, answer.status_code, len(answer.content)))
    assert pages[:2] == pages[2:]


def test_staff_without_a_second_factor_are_led_to_adding_one(client: Client, boss: User) -> None:
    answer = client.post(f"{LOGIN}?next=/admin/", {"login": boss.email, "password": PASSWORD})
    assert answer["Location"] == "/admin/"
    page = client.get("/admin/", follow=True)
    assert page.request["PATH_INFO"] == "/accounts/2fa/"
    assert "The admin requires two-factor authentication." in page.content.decode()
    assert client.get("/admin/accounts/user/").status_code == 302


@pytest.mark.parametrize("kind", ["app", "recovery code"])
def test_a_second_factor_lets_staff_in(client: Client, boss: User, kind: str) -> None:
    secret = add_totp(boss)
    codes = RecoveryCodes.activate(boss).get_unused_codes()
    login(client, boss.email)
    assert client.get("/admin/").status_code == 302, "the password alone"
    code = code_of(secret) if kind == "app" else codes[0]
    client.post(AUTHENTICATE, {"code": code})
    assert client.get("/admin/").status_code == 200
    Authenticator.objects.all().delete()
    assert client.get("/admin/").status_code == 302, "one that is theirs no more"


def test_a_second_factor_that_was_added_in_the_session_is_shown_first(boss: User) -> None:
    client = Client()
    login(client, boss.email)
    secret = add_totp(boss)
    url = "/admin/accounts/team/?q=a%26b"
    answer = client.get(url, follow=True)
    assert answer.request["PATH_INFO"] == REAUTHENTICATE
    asked = {"code": code_of(secret), "next": answer.context["redirect_field_value"]}
    assert client.post(REAUTHENTICATE, asked)["Location"] == url
    assert client.get(url).status_code == 200


GUARDED = [
    *("/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/"),
    *("/accounts/2fa/recovery-codes/", "/accounts/2fa/recovery-codes/generate/"),
]


@pytest.fixture
def thief(boss: User) -> Client:
    """A browser of someone who knows the boss's password, and has just entered it twice."""
    browser = Client()
    login(browser, boss.email)
    browser.post("/accounts/reauthenticate/", {"password": PASSWORD})
    return browser


@pytest.mark.parametrize("path", GUARDED)
def test_a_password_alone_enrols_no_second_factor(thief: Client, boss: User, path: str) -> None:
    for answer in (thief.get(path), thief.post(path, {"code": "123456"})):
        assert answer["Location"] == f"{CONFIRM}?next={path}"
    assert not Authenticator.objects.exists()


def test_a_code_from_the_mailbox_lets_staff_enrol_their_first(thief: Client, boss: User) -> None:
    path = "/accounts/2fa/totp/activate/"
    asked = {"next": path}
    page = thief.get(CONFIRM, asked)
    assert boss.email in page.content.decode()
    assert mail.outbox == []
    thief.post(CONFIRM, asked)
    code = code_to(boss.email)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    assert thief.post(CONFIRM, {**asked, "code": wrong}).status_code == 422
    assert thief.get(path).status_code == 302
    answer = thief.post(CONFIRM, {**asked, "code": f" {code[:3]} {code[3:]}"})
    assert answer["Location"] == path
    seed = thief.get(path).context["form"].secret
    assert thief.post(path, {"code": code_of(seed)}).status_code == 302
    assert Authenticator.objects.filter(user=boss, type="totp").exists()
    assert thief.post(CONFIRM, {"code": code})["Location"] == "/accounts/2fa/", "there is one now"


def test_a_mailbox_code_is_guessed_ten_times_in_all_sessions_and_expires(
    boss: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    browsers = []
    for _ in range(3):
        browser = Client()
        login(browser, boss.email)
        browser.post(CONFIRM)
        browsers.append((browser, code_to(boss.email)))
    for number in range(10):
        browser, code = browsers[number % 2]
        wrong = f"{(int(code) + 1) % 10**6:06}"
        assert "Incorrect" in browser.post(CONFIRM, {"code": wrong}).content.decode()
    browser, code = browsers[2]
    assert "Too many attempts" in browser.post(CONFIRM, {"code": code}).content.decode()
    cache.clear()
    later = time.time() + 16 * 60
    monkeypatch.setattr(time, "time", lambda: later)
    assert "expired" in browser.post(CONFIRM, {"code": code}).content.decode()


def test_codes_are_sent_five_times_an_hour(boss: User) -> None:
    browser = Client()
    login(browser, boss.email)
    assert [browser.post(CONFIRM).status_code for _ in range(6)] == [200] * 5 + [429]
    assert len(mail.outbox) == 5


def test_the_code_goes_to_no_new_address(thief: Client, boss: User) -> None:
    form = {"email": "thief@example.com", "action_add": ""}
    answer = thief.post("/accounts/email/", form)
    assert answer["Location"] == f"{CONFIRM}?next=/accounts/email/"
    assert boss.emailaddress_set.count() == 1


@pytest.mark.parametrize(
    "path", [*GUARDED[1:], "/accounts/2fa/totp/deactivate/", "/accounts/email/"]
)
def test_an_older_session_with_the_password_changes_no_second_factor(
    thief: Client, boss: User, path: str
) -> None:
    secret = add_totp(boss)
    RecoveryCodes.activate(boss)
    answer = thief.post(path, {"action_add": "", "email": "thief@example.com"})
    assert answer["Location"] == f"{REAUTHENTICATE}?next={path}"
    assert thief.get("/accounts/2fa/recovery-codes/").status_code == 302
    thief.post(REAUTHENTICATE, {"code": code_of(secret)})
    assert thief.get(path).status_code == 200


def test_customers_enrol_as_before(alice: User) -> None:
    assert signed_in(alice).post(CONFIRM)["Location"] == "/accounts/2fa/"
    assert mail.outbox == []


def test_another_users_second_factor_does_not_count(boss: User) -> None:
    other = User.objects.create_superuser("other@example.com", PASSWORD)
    client = Client()
    secret = add_totp(boss)
    login(client, boss.email)
    client.post(AUTHENTICATE, {"code": code_of(secret)})
    client.post("/accounts/logout/")
    add_totp(other)
    client.force_login(other)
    assert client.get("/admin/").status_code == 302


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:x"])
def test_signing_in_leads_nowhere_else(settings: Any, boss: User, elsewhere: str) -> None:
    asked = {"next": elsewhere}
    assert Client().get(ADMIN_LOGIN, asked)["Location"] == f"{LOGIN}?next=/admin/"
    settings.STAFF_SECOND_FACTOR = False
    assert signed_in(boss).get(ADMIN_LOGIN, asked)["Location"] == "/admin/"


def test_customers_are_told_that_they_may_not(alice: User) -> None:
    assert signed_in(alice).get(ADMIN_LOGIN).status_code == 403


def test_a_second_factor_is_asked_for_unless_the_operator_says_otherwise(
    settings: Any, boss: User
) -> None:
    settings.STAFF_SECOND_FACTOR = False
    assert signed_in(boss).get("/admin/").status_code == 200


def test_staff_change_their_password_where_everybody_does(settings: Any, boss: User) -> None:
    settings.STAFF_SECOND_FACTOR = False
    answer = signed_in(boss).get("/admin/password_change/")
    assert answer["Location"] == "/accounts/password/change/"
