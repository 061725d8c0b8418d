"""Signing in: the limits, the second step, what others are told, sessions, resets."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
)
from allauth.usersessions.models import UserSession
from django.core import mail
from django.core.cache import cache
from django.test import Client, RequestFactory

from accounts import teams
from accounts.client_ip import client_ip
from accounts.models import NotificationSettings, User
from portal.emails.sending import send_email
from portal.ui.devices import device_name
from tests.cast import signed_in
from tests.portal.sent_emails import last_to, link_to

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
LOGIN = "/accounts/login/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
CHROME = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"


@pytest.fixture
def dana(db: None) -> User:
    """A user with a verified address, who can sign in."""
    return teams.sign_up("dana@example.com", PASSWORD, "Dana", is_verified=True)[0]


@pytest.fixture
def commits(django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run what waits for a commit, with Celery's part done at once."""
    monkeypatch.setattr(send_email, "apply_async", lambda args, **_: send_email(*args))
    return lambda: django_capture_on_commit_callbacks(execute=True)


def login(client: Client, email: str, password: str = PASSWORD, **headers: Any) -> Any:
    return client.post(LOGIN, {"login": email, "password": password}, **headers)


def add_totp(user: User) -> str:
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return secret


def code_of(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


def test_the_right_password_signs_in_and_is_a_session(client: Client, dana: User) -> None:
    assert login(client, "Dana@Example.com", HTTP_USER_AGENT=FIREFOX)["Location"] == "/dashboard"
    page = client.get("/accounts/sessions/").content.decode()
    assert "Firefox on Linux" in page
    assert "This device" in page


def test_a_wrong_password_and_an_unknown_address_are_answered_alike(dana: User) -> None:
    pages = []
    for email in ("dana@example.com", "nobody@example.com"):
        page = login(Client(), email, "wrong").content.decode().replace(email, "ADDRESS")
        pages.append(re.sub(r'csrfmiddlewaretoken" value="\w+"', "", page))
    assert pages[0] == pages[1]
    assert "The email address or password is incorrect." in pages[0]


def test_failures_for_one_account_are_limited_wherever_they_come_from(dana: User) -> None:
    for n in range(5):
        login(Client(), dana.email, "wrong", REMOTE_ADDR=f"192.0.2.{n}")
    page = login(Client(), dana.email, REMOTE_ADDR="192.0.2.77").content.decode()
    assert "Try again in five minutes" in page


def test_failures_for_one_account_are_counted_whatever_host_is_named(dana: User) -> None:
    for n in range(5):
        host = {"HTTP_HOST": f"localhost:{9000 + n}", "REMOTE_ADDR": f"198.51.100.{n}"}
        assert login(Client(**host), dana.email, "wrong").status_code == 200
    answer = login(Client(HTTP_HOST="127.0.0.1:9999", REMOTE_ADDR="198.51.100.9"), dana.email)
    assert "Too many failed attempts" in answer.content.decode(), "not even with the right password"


@pytest.mark.parametrize(
    ("path", "setting", "fields"),
    [
        (LOGIN, "SIGN_IN_RATE", {"login": "x@example.com", "password": "y"}),
        ("/accounts/signup/", "SIGN_UP_RATE", {"email": "x", "password1": "y"}),
        ("/accounts/password/reset/", "PASSWORD_RESET_RATE", {"email": "x"}),
    ],
)
def test_each_form_has_a_limit_and_says_when_to_try_again(
    client: Client, settings: Any, path: str, setting: str, fields: dict[str, str]
) -> None:
    setattr(settings, setting, "2/h")
    for _ in range(2):
        assert client.post(path, fields).status_code == 200
    refused = client.post(path, fields)
    assert refused.status_code == 429
    assert 0 < int(refused["Retry-After"]) <= 3600
    assert re.search(r"Try again in (a|\d+) minute", refused.content.decode())
    assert client.get(path).status_code == 200, "to look at the form counts nothing"


def test_a_forged_header_is_no_way_around_a_limit(client: Client, settings: Any) -> None:
    settings.SIGN_IN_RATE = "2/h"
    answers = [
        client.post(LOGIN, {}, HTTP_X_FORWARDED_FOR=f"198.51.100.{n}").status_code for n in range(3)
    ]
    assert answers == [200, 200, 429]


@pytest.mark.parametrize(
    ("behind", "proxies", "header", "address"),
    [
        (False, 1, "198.51.100.1", "192.0.2.1"),
        (True, 1, "198.51.100.1", "198.51.100.1"),
        (True, 1, "203.0.113.5, 198.51.100.1", "198.51.100.1"),
        (True, 2, "203.0.113.5, 198.51.100.1", "203.0.113.5"),
        (True, 2, "198.51.100.1", "192.0.2.1"),
        (True, 1, "nonsense", "192.0.2.1"),
        (True, 1, "::ffff:198.51.100.1", "198.51.100.1"),
        (True, 1, "2001:DB8::1", "2001:db8::1"),
        (True, 1, None, "192.0.2.1"),
    ],
)
def test_the_clients_address_is_what_the_operators_proxy_saw(
    settings: Any, behind: bool, proxies: int, header: str | None, address: str
) -> None:
    settings.BEHIND_PROXY, settings.PROXY_COUNT = behind, proxies
    headers = {"HTTP_X_FORWARDED_FOR": header} if header is not None else {}
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", **headers)
    assert client_ip(request) == address


def test_a_socket_without_addresses_is_this_machine() -> None:
    assert client_ip(RequestFactory().get("/", REMOTE_ADDR="")) == "127.0.0.1"


def test_the_second_step_is_asked_and_takes_a_code_once_right(client: Client, dana: User) -> None:
    secret = add_totp(dana)
    assert login(client, dana.email)["Location"] == "/accounts/2fa/authenticate/"
    assert client.get("/dashboard").status_code == 302
    wrong = client.post("/accounts/2fa/authenticate/", {"code": "12"}).content.decode()
    assert "Incorrect code" in wrong
    right = client.post("/accounts/2fa/authenticate/", {"code": code_of(secret)})
    assert right["Location"] == "/dashboard"


def test_a_code_of_an_app_works_once_as_long_as_it_is_valid(dana: User) -> None:
    secret = add_totp(dana)
    authenticator = TOTP(Authenticator.objects.get(user=dana))
    code = format_hotp_value(hotp_value(secret, int(time.time()) // 30 + 1))  # valid for a minute
    step = "/accounts/2fa/authenticate/"
    first, second = Client(), Client()
    for client in (first, second):
        login(client, dana.email)
    assert first.post(step, {"code": code})["Location"] == "/dashboard"
    cache.delete(authenticator._get_used_cache_key(code))  # as allauth does after 30 s
    for again in (code, f"{code[:3]} {code[3:]}"):
        answer = second.post(step, {"code": again})
        assert answer.status_code == 200
        assert "Incorrect code" in answer.content.decode()


def test_a_reset_answers_the_same_whether_there_is_an_account(client: Client, dana: User) -> None:
    reset = "/accounts/password/reset/"
    known, unknown = (
        client.post(reset, {"email": email}) for email in (dana.email, "no@example.com")
    )
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert "no account uses this address" in last_to("no@example.com").body
    assert link_to(dana.email, "reset/key")


def test_a_reset_link_works_once(client: Client, dana: User) -> None:
    client.post("/accounts/password/reset/", {"email": dana.email})
    link = link_to(dana.email, "reset/key")
    form = client.get(link, follow=True).request["PATH_INFO"]
    fields = {"password1": "another horse battery", "password2": "another horse battery"}
    assert client.post(form, fields).status_code == 302
    page = Client().get(link, follow=True).content.decode()
    assert "This link no longer works" in page
    assert "Location" in login(Client(), dana.email, "another horse battery")


def test_other_sessions_can_be_ended(client: Client, dana: User) -> None:
    other = Client()
    login(other, dana.email, HTTP_USER_AGENT=CHROME)
    login(client, dana.email, HTTP_USER_AGENT=FIREFOX)
    page = client.get("/accounts/sessions/").content.decode()
    assert "Chrome on Windows" in page
    client.post("/accounts/sessions/")
    assert other.get("/dashboard").status_code == 302
    assert client.get("/dashboard").status_code == 200
    assert UserSession.objects.count() == 1


def end_button(page: str, device: str) -> str:
    """Return where the button leads that signs a device out."""
    found = re.search(rf'action="([^"]+)">(?:(?!</form>).)*Sign out<[^>]+> {device}', page, re.S)
    assert found is not None
    return found[1]


def test_one_session_of_several_can_be_ended(client: Client, dana: User) -> None:
    phone, work = Client(), Client()
    login(phone, dana.email, HTTP_USER_AGENT=CHROME.replace("Windows NT 10.0", "Android"))
    login(work, dana.email, HTTP_USER_AGENT=CHROME)
    login(client, dana.email, HTTP_USER_AGENT=FIREFOX)
    button = end_button(client.get("/accounts/sessions/").content.decode(), "Chrome on Windows")
    page = client.post(button, follow=True).content.decode()
    assert "Signed out: Chrome on Windows." in page
    assert work.get("/dashboard").status_code == 302, "it is signed out"
    assert phone.get("/dashboard").status_code == client.get("/dashboard").status_code == 200
    assert "Chrome on Android" in page


def test_this_session_is_ended_by_signing_out(client: Client, dana: User) -> None:
    login(client, dana.email)
    session = UserSession.objects.get()
    assert "/end" not in client.get("/accounts/sessions/").content.decode()
    assert client.post(f"/accounts/sessions/{session.pk}/end")["Location"] == "/accounts/logout/"
    assert client.get("/dashboard").status_code == 200


def test_nobody_ends_another_ones_session(client: Client, dana: User, alice: User) -> None:
    login(client, dana.email)
    session = UserSession.objects.get()
    assert signed_in(alice).post(f"/accounts/sessions/{session.pk}/end").status_code == 404
    assert client.get("/dashboard").status_code == 200


def test_a_new_device_is_told_to_its_owner(commits: Callable[[], Any], dana: User) -> None:
    with commits():
        login(Client(), dana.email, HTTP_USER_AGENT=FIREFOX)
        assert mail.outbox == [], "the first sign-in of all is no news"
    with commits():
        login(Client(), dana.email, HTTP_USER_AGENT=FIREFOX.replace("140", "141"))
    assert mail.outbox == [], "the same device, with a newer browser"
    with commits():
        login(Client(), dana.email, HTTP_USER_AGENT=CHROME, REMOTE_ADDR="192.0.2.7")
    email = last_to(dana.email)
    assert "New sign-in" in email.subject
    assert "Chrome on Windows" in email.body
    assert "192.0.2.7" in email.body


def test_a_new_device_is_not_told_to_who_switched_that_off(
    commits: Callable[[], Any], dana: User
) -> None:
    NotificationSettings.objects.create(user=dana, new_sign_in=False)
    for agent in (FIREFOX, CHROME):
        with commits():
            login(Client(), dana.email, HTTP_USER_AGENT=agent)
    assert mail.outbox == []


def test_who_signs_out_every_evening_is_known_in_the_morning(
    commits: Callable[[], Any], dana: User
) -> None:
    client = Client(HTTP_USER_AGENT=FIREFOX)
    for _ in range(3):
        with commits():
            login(client, dana.email)
            client.post("/accounts/logout/")
    assert mail.outbox == []


def test_a_changed_password_is_told_to_its_owner(commits: Callable[[], Any], dana: User) -> None:
    client = Client(HTTP_USER_AGENT=FIREFOX)
    login(client, dana.email)
    new = "another horse battery"
    with commits():
        client.post(
            "/accounts/password/change/",
            {"oldpassword": PASSWORD, "password1": new, "password2": new},
        )
    assert "Your password was changed" in last_to(dana.email).subject
    assert "Firefox on Linux" in last_to(dana.email).body
    assert client.get("/dashboard").status_code == 200, "this session goes on"


SETTINGS_PAGES = [
    "/accounts/password/change/",
    "/accounts/email/",
    "/accounts/2fa/",
    "/accounts/2fa/webauthn/",
    "/accounts/sessions/",
]


@pytest.mark.parametrize("path", SETTINGS_PAGES)
def test_settings_pages_stand_in_the_members_shell(
    dana: User, path: str, django_assert_max_num_queries: Any
) -> None:
    client = Client()
    login(client, dana.email)
    with django_assert_max_num_queries(15):
        page = client.get(path).content.decode()
    assert "Dana" in page, "the team"
    assert page.count('aria-current="page"') == 2, "the rail's settings and the tab"
    assert "<script>" not in page
    assert "style=" not in page


@pytest.mark.parametrize("path", SETTINGS_PAGES)
def test_settings_pages_ask_who_is_signed_out_to_sign_in(client: Client, path: str) -> None:
    assert client.get(path)["Location"].startswith(f"{LOGIN}?")


def test_who_is_in_no_team_sees_their_settings_all_the_same() -> None:
    user = User.objects.create_user("alone@example.com", PASSWORD)
    assert signed_in(user).get("/accounts/2fa/").status_code == 200


def test_guarding_pages_ask_for_the_password_again(client: Client, dana: User) -> None:
    login(client, dana.email)
    answer = client.get("/accounts/2fa/totp/activate/")
    assert answer["Location"].startswith("/accounts/reauthenticate/")
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    page = client.get("/accounts/2fa/totp/activate/").content.decode()
    assert "data:image/svg+xml" in page


def test_another_users_passkey_is_not_there(client: Client, dana: User, alice: User) -> None:
    key = Authenticator.objects.create(user=alice, type="webauthn", data={})
    login(client, dana.email)
    client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    for action in ("edit", "remove"):
        url = f"/accounts/2fa/webauthn/keys/{key.pk}/{action}/"
        assert client.get(url).status_code == client.post(url).status_code == 404


def test_other_services_are_offered_only_where_the_operator_sets_them(client: Client) -> None:
    assert "Continue with" not in client.get(LOGIN).content.decode()


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (CHROME, "Chrome on Windows"),
        (f"{CHROME} Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("curl/8.5.0", "curl"),
        ("", "Unknown browser"),
        ("<script>", "Unknown browser"),
    ],
)
def test_devices_have_names_that_people_know(agent: str, name: str) -> None:
    assert device_name(agent) == name


@pytest.mark.parametrize("host", ["testserver", "evil.example"])
def test_links_in_emails_lead_to_the_services_address(dana: User, settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.BASE_URL = "https://tollgate.example"
    client = Client(headers={"host": host})
    for email in (dana.email, "nobody@example.com"):
        client.post("/accounts/password/reset/", {"email": email})
        body = last_to(email).body
        assert "https://tollgate.example/accounts/" in body
        assert host not in body


def test_a_signed_in_persons_pages_are_not_stored(dana: User) -> None:
    client = signed_in(dana)
    for path in ("/dashboard", "/", "/settings/profile", "/accounts/sessions/", "/nowhere"):
        assert "no-store" in client.get(path).headers.get("Cache-Control", ""), path
    assert "no-store" not in Client().get("/").headers.get("Cache-Control", "")
