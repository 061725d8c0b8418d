"""Keys for apps: the page of an app, its code, and the exchange over the API (PKCE)."""

from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.test import Client
from django.utils import timezone
from oauthlib.oauth2 import WebApplicationClient

from accounts import api_keys, app_authorization
from accounts.models import ApiKey, AppAuthorization, AuditEntry, Membership, Role, Team, User
from accounts.oauth import OAuthError
from tests.api.served import served
from tests.cast import everything_in_the_database, signed_in
from tests.portal.test_device_sign_in import at_once

pytestmark = pytest.mark.django_db

CALLBACK = "https://app.example/callback?kept=1"
FORM = {"name": "My app", "limit": "5", "period": "budget_total_nanos", "expiry": "90"}


class App:
    """An app, whose PKCE is an OAuth library's."""

    def __init__(self) -> None:
        self.client = WebApplicationClient("any")
        self.verifier = self.client.create_code_verifier(64)
        self.challenge = self.client.create_code_challenge(self.verifier, "S256")

    def address(self, **changed: str) -> str:
        """Return the page that it sends its user to."""
        asked = {
            "callback_url": CALLBACK,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            "state": "a state",
        }
        return "/auth?" + urlencode(asked | changed)


def decide(browser: Client, address: str, decision: str = "approve", **form: str) -> Any:
    return browser.post(address, {"decision": decision, **FORM, **form})


def returned(answer: Any) -> Any:
    """Return the parts of the address that the browser is sent to."""
    assert answer.status_code == 200, answer.content
    assert "no-store" in answer["Cache-Control"]
    assert answer["Referrer-Policy"] == "no-referrer"
    return urlsplit(answer["Refresh"].removeprefix("0; url="))


def approved_code(browser: Client, app: App) -> str:
    """Return the code that the app is sent after an approval."""
    return app.client.parse_request_uri_response(
        returned(decide(browser, app.address())).geturl(), state="a state"
    )["code"]


def exchange(code: str, verifier: str) -> tuple[ApiKey, str]:
    return app_authorization.exchange(code, verifier, ip_address="192.0.2.1")


def test_an_app_is_given_a_key_with_what_the_member_chose(
    browser: Client, alice: User, alices_team: Team, default_catalogue: None
) -> None:
    app = App()
    page = browser.get(app.address()).content.decode()
    assert "app.example" in page
    assert alices_team.name in page
    assert not ApiKey.objects.exists(), "showing the page approves nothing"
    there = returned(decide(browser, app.address()))
    assert (there.scheme, there.netloc, there.path) == ("https", "app.example", "/callback")
    sent = parse_qs(there.query)
    assert (sent["kept"], sent["state"]) == (["1"], ["a state"])
    (code,) = sent["code"]
    before = ApiKey.objects.get()
    assert before.expires_at is not None
    assert before.expires_at - timezone.now() <= timedelta(minutes=10), "it lapses if not fetched"

    key, plaintext = exchange(code, app.verifier)
    assert api_keys.find_active(plaintext) == key == before
    assert (key.team, key.created_by, key.source) == (alices_team, alice, "app.example")
    assert (key.name, key.budget_total_nanos) == ("My app", 5 * 10**9)
    assert key.expires_at is not None
    assert key.expires_at - timezone.now() > timedelta(days=89)
    listed = browser.get("/settings/apikeys").content.decode()
    assert "app.example" in listed
    stored = everything_in_the_database()
    assert not [secret for secret in (code, app.verifier, plaintext) if secret in stored]
    assert AuditEntry.objects.get(action="key.created").detail["source"] == "app.example"


def test_the_exchange_is_openrouters(settings: Any, transactional_db: None, alice: User) -> None:
    browser, app = signed_in(alice), App()
    code = approved_code(browser, app)
    body = {"code": code, "code_verifier": app.verifier, "code_challenge_method": "S256"}
    wrong = {"code": code, "code_verifier": App().verifier}
    bodies: list[dict[str, Any]] = [wrong, {**body, "code_challenge_method": "plain"}, {}, body]

    async def ask() -> list[httpx.Response]:
        async with served(settings) as client:
            answers = [await client.post("/api/v1/auth/keys", json=each) for each in bodies]
            return [*answers, await client.get("/api/v1/auth/keys")]

    refused, plain, empty, made, got = async_to_sync(ask)()
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "invalid_code")
    assert (plain.status_code, empty.status_code, got.status_code) == (400, 400, 405)
    assert made.status_code == 200
    assert made.headers["cache-control"] == "no-store"
    assert api_keys.find_active(made.json()["key"]) == ApiKey.objects.get()
    assert made.json()["user_id"]


def test_a_code_works_once_and_its_second_use_revokes_the_key(
    browser: Client, default_catalogue: None
) -> None:
    app = App()
    code = approved_code(browser, app)
    for verifier in (App().verifier, "short", ""):
        with pytest.raises(OAuthError):
            exchange(code, verifier)
    _, plaintext = exchange(code, app.verifier)
    with pytest.raises(OAuthError):
        exchange(code, App().verifier)
    assert api_keys.find_active(plaintext), "whoever lacks the verifier can't revoke"
    with pytest.raises(OAuthError):
        exchange(code, app.verifier)
    assert api_keys.find_active(plaintext) is None
    assert AuditEntry.objects.get(action="key.revoked").actor_label == "the service"


def test_a_late_code_and_one_of_a_revoked_key_give_nothing(
    browser: Client, alice: User, default_catalogue: None
) -> None:
    late, revoked, left = App(), App(), App()
    codes = [approved_code(browser, app) for app in (late, revoked, left)]
    first, second, _third = AppAuthorization.objects.order_by("pk")
    AppAuthorization.objects.filter(pk=first.pk).update(expires_at=timezone.now())
    api_keys.revoke_key(second.key)
    Membership.objects.filter(user=alice).delete()
    for app, code in zip((late, revoked, left), codes, strict=True):
        with pytest.raises(OAuthError):
            exchange(code, app.verifier)


def test_a_body_that_is_no_json_is_refused(settings: Any, transactional_db: None) -> None:
    deep = b'{"x": ' + b"[" * 8000 + b"]" * 8000 + b"}"
    bodies = (b"", b'{"code": "\xff", "code_verifier": "x"}', deep, b" " * 20_000)

    async def ask() -> list[int]:
        async with served(settings) as client:
            answers = [await client.post("/api/v1/auth/keys", content=each) for each in bodies]
            return [answer.status_code for answer in answers]

    assert async_to_sync(ask)() == [400, 400, 400, 413]


@pytest.mark.parametrize(
    "url",
    [
        "http://app.example/callback",
        "https://app.example@evil.example/",
        "https://app.example/#fragment",
        "https://app.example\\@evil.example/",
        "https://\u0430pp.example/",
        "https:///nowhere",
        "javascript:alert(1)",
        "//app.example/",
        "/settings",
        "https://app.example/\nRefresh: 0",
        "https://app.example:port/",
        "http://localhost.evil.example/",
        "https://app.example/" + "a" * 2000,
    ],
    ids=lambda url: str(abs(len(url))) + url.split(":")[0][:9].replace("/", "_"),
)
def test_no_code_goes_to_an_address_that_the_member_could_misread(
    browser: Client, url: str
) -> None:
    address = App().address(callback_url=url)
    for answer in (browser.get(address), decide(browser, address)):
        assert answer.status_code == 400
        assert "Refresh" not in answer
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:61000", "[::1]:80", "localhost"])
def test_a_program_on_the_members_machine_may_ask(
    browser: Client, default_catalogue: None, host: str
) -> None:
    address = App().address(callback_url=f"http://{host}")
    assert "A program on your machine" in browser.get(address).content.decode()
    there = returned(decide(browser, address))
    assert (there.netloc, there.path) == (host, "/")


@pytest.mark.parametrize(
    "changed",
    [
        {"code_challenge_method": "plain"},
        {"code_challenge": ""},
        {"code_challenge": "x" * 43 + "="},
        {"code_challenge": "short"},
        {"code_challenge": "\u0430" * 43},
    ],
    ids=["plain", "none", "padded", "short", "letters"],
)
def test_only_s256_is_accepted(browser: Client, changed: dict[str, str]) -> None:
    assert browser.get(App().address(**changed)).status_code == 400


def test_a_denial_is_reported_to_the_app(browser: Client) -> None:
    app = App()
    for decision in ("deny", ""):
        sent = parse_qs(returned(decide(browser, app.address(), decision)).query)
        assert (sent["error"], "code" in sent) == (["access_denied"], False)
    assert not ApiKey.objects.exists()


def test_without_a_callback_the_code_is_shown(browser: Client, default_catalogue: None) -> None:
    app = App()
    answer = decide(browser, app.address(callback_url="", key_label="<b>CLI</b>"))
    assert "Refresh" not in answer
    code = unescape(answer.content.decode()).split('id="code">')[1].split("<")[0]
    key, _ = exchange(code, app.verifier)
    assert key.source == "app"
    shown = browser.get(app.address(callback_url="", key_label="<b>CLI</b>")).content.decode()
    assert "&lt;b&gt;CLI" in shown


def test_the_page_is_for_members_who_may_create_keys(
    alice: User, alices_team: Team, bob: User
) -> None:
    address = App().address()
    login = Client().get(address)["Location"]
    assert "/login/" in login
    assert "code_challenge" in login, "who signs in comes back"
    Membership.objects.filter(user=bob).delete()
    Membership.objects.create(user=bob, team=alices_team, role=Role.BILLING)
    assert decide(signed_in(bob), address).status_code == 403
    strict = signed_in(alice, enforce_csrf_checks=True)
    assert decide(strict, address).status_code == 403, "another site's form approves nothing"
    assert not ApiKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_exchanges_at_once_at_most_one_gets_the_key(
    browser: Client, default_catalogue: None
) -> None:
    app = App()
    code = approved_code(browser, app)

    def attempt() -> str:
        try:
            return exchange(code, app.verifier)[1]
        except OAuthError as error:
            return error.code

    assert at_once(attempt).count("invalid_grant") == 3
    assert ApiKey.objects.get().revoked_at is not None, "one of the four may be a thief"
