"""Signing in on a device: RFC 8628's codes and polls, the page, refresh and revocation."""

import re
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts import api_keys, device_sign_in, key_actions, members
from accounts.access import Actor, membership_in
from accounts.models import ApiKey, AuditEntry, DeviceSignIn, Membership, Plan, Role, Team, User
from accounts.oauth import OAuthError
from tests.cast import everything_in_the_database, signed_in

pytestmark = pytest.mark.django_db

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ADDRESS = "127.0.0.1"
FORM_TYPE = "application/x-www-form-urlencoded"
FORM = {"name": "Laptop", "limit": "20", "period": "budget_month_nanos", "expiry": "30"}


def begin() -> dict[str, Any]:
    """Begin a sign-in as Claude Code does, and return the answer."""
    answer = Client().post(
        "/oauth/device_authorization",
        "surface=claude_code",
        content_type=FORM_TYPE,
        headers={"user-agent": "claude-code/2.1.332"},
    )
    assert answer.status_code == 200, answer.content
    assert "no-store" in answer["Cache-Control"]
    return answer.json()


def send(path: str, form: dict[str, Any]) -> Any:
    """Post a form as a program does, with a check for CSRF that it must not need."""
    client, body = Client(enforce_csrf_checks=True), urlencode(form, doseq=True)
    return client.post(path, body, content_type=FORM_TYPE)


def poll(begun: dict[str, Any]) -> Any:
    return send("/oauth/token", {"grant_type": GRANT, "device_code": begun["device_code"]})


def refresh(token: str) -> Any:
    return send("/oauth/token", {"grant_type": "refresh_token", "refresh_token": token})


def decide(browser: Client, begun: dict[str, Any], decision: str = "approve", **form: str) -> Any:
    fields = {"user_code": begun["user_code"], "decision": decision, **FORM, **form}
    return browser.post("/device", fields)


def error_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


def sign_in(browser: Client) -> dict[str, Any]:
    """Sign a device in, and return its tokens."""
    begun = begin()
    assert decide(browser, begun).status_code == 200
    return poll(begun).json()


def works(token: str) -> bool:
    return api_keys.find_active(token) is not None


def hurry(**fields: Any) -> None:
    """Change the only sign-in, as if time had passed."""
    DeviceSignIn.objects.update(**fields)


def test_a_device_signs_in_and_its_key_is_one_like_others(
    browser: Client, alice: User, alices_team: Team, default_catalogue: None
) -> None:
    begun = begin()
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", begun["user_code"])
    assert len(begun["device_code"]) == 43
    assert begun["verification_uri"] == "http://127.0.0.1:8000/device"
    assert begun["verification_uri_complete"].endswith(f"/device?user_code={begun['user_code']}")
    assert (begun["expires_in"], begun["interval"]) == (600, 5)
    assert error_of(poll(begun)) == (400, "authorization_pending")

    page = browser.get(f"/device?user_code={begun['user_code'].lower().replace('-', ' ')}")
    text = page.content.decode()
    for shown in ("Claude Code", ADDRESS, "claude-code/2.1.332", alice.email, alices_team.name):
        assert shown in text
    assert not ApiKey.objects.exists(), "showing the page approves nothing"

    assert "is signed in" in decide(browser, begun).content.decode()
    key = ApiKey.objects.get()
    assert (key.team, key.created_by, key.source) == (alices_team, alice, "Claude Code")
    assert (key.name, key.budget_month_nanos) == ("Laptop", 20 * 10**9)
    tokens = poll(begun).json()
    assert tokens["token_type"] == "Bearer"
    assert (tokens["email"], tokens["expires_in"]) == (alice.email, 28_800)
    found = api_keys.find_active(tokens["access_token"])
    assert found == key
    assert found.ends_at - timezone.now() > timedelta(days=29)
    listed = browser.get("/settings/apikeys").content.decode()
    assert "Claude Code" in listed
    assert "Expires soon" not in listed
    stored = everything_in_the_database()
    for secret in (tokens["access_token"], tokens["refresh_token"], begun["device_code"]):
        assert secret not in stored
    assert begun["user_code"] not in stored
    (entry,) = AuditEntry.objects.filter(action="key.created")
    assert (entry.actor, entry.detail["source"]) == (alice, "Claude Code")


def test_a_code_is_exchanged_once(browser: Client, default_catalogue: None) -> None:
    begun = begin()
    decide(browser, begun)
    assert poll(begun).status_code == 200
    assert error_of(poll(begun)) == (400, "invalid_grant")
    unknown = send("/oauth/token", {"grant_type": GRANT, "device_code": "x"})
    assert error_of(unknown) == (400, "invalid_grant")
    assert decide(browser, begun).status_code == 404, "a decided code is forgotten"


def test_polls_that_come_too_early_slow_down(browser: Client, default_catalogue: None) -> None:
    begun = begin()
    assert error_of(poll(begun)) == (400, "authorization_pending")
    assert error_of(poll(begun)) == (400, "slow_down")
    assert DeviceSignIn.objects.get().interval_seconds == 10
    hurry(polled_at=timezone.now() - timedelta(seconds=10))
    assert error_of(poll(begun)) == (400, "authorization_pending")
    decide(browser, begun)
    assert poll(begun).status_code == 200, "an approved one need not wait"


def test_an_expired_code_is_neither_approved_nor_exchanged(
    browser: Client, default_catalogue: None
) -> None:
    begun = begin()
    hurry(expires_at=timezone.now())
    assert decide(browser, begun).status_code == 404
    assert error_of(poll(begun)) == (400, "expired_token")
    approved = begin()
    decide(browser, approved)
    hurry(expires_at=timezone.now())
    assert error_of(poll(approved)) == (400, "expired_token")


def test_a_denied_device_gets_nothing(browser: Client) -> None:
    begun = begin()
    assert "gets no access" in decide(browser, begun, "deny").content.decode()
    assert error_of(poll(begun)) == (400, "access_denied")
    assert not ApiKey.objects.exists()
    other = begin()
    decide(browser, other, "")
    assert error_of(poll(other)) == (400, "access_denied"), "only the button approves"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": GRANT}, "invalid_request"),
        ({"grant_type": GRANT, "device_code": ["a", "b"]}, "invalid_request"),
        ({"grant_type": GRANT, "device_code": "a\0", "client_id": "any"}, "invalid_grant"),
    ],
)
def test_a_wrong_form_is_refused(form: dict[str, Any], error: str) -> None:
    assert error_of(send("/oauth/token", form)) == (400, error)
    as_json = Client().post("/oauth/token", form, content_type="application/json")
    assert error_of(as_json) == (400, "invalid_request")
    assert Client().get("/oauth/token").status_code == 405


def test_tokens_are_renewed_and_the_old_ones_end(browser: Client, default_catalogue: None) -> None:
    first = sign_in(browser)
    second = refresh(first["refresh_token"]).json()
    assert not works(first["access_token"])
    assert works(second["access_token"])
    assert ApiKey.objects.count() == 1
    ends_at = ApiKey.objects.get().renewable_until
    third = refresh(second["refresh_token"]).json()
    assert ApiKey.objects.get().renewable_until == ends_at, "renewing lengthens nothing"
    ApiKey.objects.update(expires_at=timezone.now())
    assert not works(third["access_token"])
    assert "Active" in browser.get("/settings/apikeys").content.decode()
    assert works(refresh(third["refresh_token"]).json()["access_token"])


def test_a_used_refresh_token_from_elsewhere_ends_the_sign_in(
    browser: Client, default_catalogue: None
) -> None:
    first = sign_in(browser)
    second = refresh(first["refresh_token"]).json()
    # Another session on the same machine has the used token: it is refused, and reads the new one.
    assert error_of(refresh(first["refresh_token"])) == (401, "invalid_grant")
    assert works(second["access_token"])
    with pytest.raises(OAuthError):
        device_sign_in.refresh(first["refresh_token"], ip_address="192.0.2.7")
    assert not works(second["access_token"])
    assert error_of(refresh(second["refresh_token"])) == (401, "invalid_grant")
    entry = AuditEntry.objects.get(action="key.revoked")
    assert (entry.actor_label, entry.ip_address) == ("the service", "192.0.2.7")


def test_no_renewal_goes_beyond_the_approved_end(browser: Client, default_catalogue: None) -> None:
    tokens = sign_in(browser)
    ApiKey.objects.update(renewable_until=timezone.now() + timedelta(seconds=90))
    renewed = refresh(tokens["refresh_token"]).json()
    assert renewed["expires_in"] <= 90
    ApiKey.objects.update(renewable_until=timezone.now())
    assert error_of(refresh(renewed["refresh_token"])) == (401, "invalid_grant")


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_signing_out_revokes(browser: Client, default_catalogue: None, which: str) -> None:
    tokens = sign_in(browser)
    assert send("/oauth/revoke", {"token": "unknown"}).status_code == 200
    form = {"token": tokens[which], "token_type_hint": which, "client_id": "ignored"}
    for _again in range(2):
        answer = send("/oauth/revoke", form)
        assert (answer.status_code, answer.content) == (200, b"")
    assert not works(tokens["access_token"])
    assert error_of(refresh(tokens["refresh_token"])) == (401, "invalid_grant")
    assert AuditEntry.objects.filter(action="key.revoked").count() == 1
    assert error_of(send("/oauth/revoke", {})) == (400, "invalid_request")


def test_signing_out_leaves_keys_that_were_made_by_hand(alices_key: Any) -> None:
    assert send("/oauth/revoke", {"token": alices_key.plaintext}).status_code == 200
    assert works(alices_key.plaintext)


def test_what_a_member_does_to_the_key_holds_for_its_tokens(
    browser: Client, alice: User, alices_team: Team, default_catalogue: None
) -> None:
    tokens = sign_in(browser)
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    key = key_actions.freeze_key(actor, ApiKey.objects.get(), ip_address=None)
    assert not works(tokens["access_token"])
    assert error_of(refresh(tokens["refresh_token"])) == (503, "temporarily_unavailable")
    key_actions.unfreeze_key(actor, key, ip_address=None)
    tokens = refresh(tokens["refresh_token"]).json()
    soon = timezone.now() + timedelta(hours=1)
    key_actions.update_key(actor, ApiKey.objects.get(), {"expires_at": soon}, ip_address=None)
    key.refresh_from_db()
    assert (key.expires_at, key.ends_at) == (soon, soon)
    key_actions.update_key(actor, key, {"expires_at": None}, ip_address=None)
    assert works(refresh(tokens["refresh_token"]).json()["access_token"])
    key_actions.revoke_key(actor, key)
    assert error_of(refresh(tokens["refresh_token"])) == (401, "invalid_grant")


def test_a_rotated_key_signs_the_device_out(
    browser: Client, alice: User, alices_team: Team, default_catalogue: None
) -> None:
    tokens = sign_in(browser)
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    old = ApiKey.objects.get()
    successor, plaintext = key_actions.rotate_key(actor, old, 60, ip_address=None)
    assert works(plaintext)
    assert successor.renewable_until is None
    assert successor.source == "Claude Code"
    assert works(tokens["access_token"])
    assert error_of(refresh(tokens["refresh_token"])) == (401, "invalid_grant")


def test_a_member_who_is_removed_takes_the_tokens_along(
    alice: User, alices_team: Team, bob: User, default_catalogue: None
) -> None:
    Membership.objects.get_or_create(user=bob, team=alices_team, role=Role.DEVELOPER)
    bobs = signed_in(bob)
    bobs.post("/team/switch", {"team": alices_team.slug})
    tokens = sign_in(bobs)
    assert ApiKey.objects.get().team == alices_team
    by_hand, _ = api_keys.create_key(alices_team, bob, "by hand", prefix="sk-tg-")
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    membership = membership_in(bob, alices_team)
    assert membership is not None
    members.remove_member(actor, membership)
    assert not works(tokens["access_token"])
    assert error_of(refresh(tokens["refresh_token"])) == (401, "invalid_grant")
    by_hand.refresh_from_db()
    assert by_hand.revoked_at is None


def test_the_page_is_for_members_who_may_create_keys(
    alice: User, alices_team: Team, bob: User
) -> None:
    begun = begin()
    address = f"/device?user_code={begun['user_code']}"
    assert "/login/" in Client().get(address)["Location"]
    Membership.objects.filter(user=bob).delete()
    Membership.objects.create(user=bob, team=alices_team, role=Role.BILLING)
    assert decide(signed_in(bob), begun).status_code == 403
    strict = signed_in(alice, enforce_csrf_checks=True)
    assert decide(strict, begun).status_code == 403, "another site's form approves nothing"
    assert not ApiKey.objects.exists()


def test_a_wrong_form_approves_nothing(
    browser: Client, alices_team: Team, default_catalogue: None
) -> None:
    begun = begin()
    assert decide(browser, begun, name="").status_code == 400
    assert decide(browser, begun, limit="a lot").status_code == 400
    assert decide(browser, begun, expiry="1000").status_code == 400
    Plan.objects.update(max_keys=0)
    full = decide(browser, begun)
    assert (full.status_code, "limit of valid API keys" in full.content.decode()) == (409, True)
    assert not ApiKey.objects.exists()
    assert error_of(poll(begun)) == (400, "authorization_pending")


def test_codes_are_limited_by_address_and_by_attempts(browser: Client, settings: Any) -> None:
    settings.DEVICE_CODE_RATE = "2/h"
    begin()
    begin()
    refused = Client().post("/oauth/device_authorization")
    assert error_of(refused) == (429, "slow_down")
    assert int(refused["Retry-After"]) > 0
    tried = [browser.get(f"/device?user_code=BCDF-BCD{letter}") for letter in "BCD"]
    assert [answer.status_code for answer in tried] == [404, 404, 429]


@pytest.mark.django_db(transaction=True)
def test_of_many_exchanges_at_once_one_gets_the_tokens(
    browser: Client, default_catalogue: None
) -> None:
    begun = begin()
    approvals = at_once(lambda: decide(browser_of(browser), begun).status_code)
    assert approvals.count(200) == 1
    assert set(approvals) <= {200, 404, 409}
    assert ApiKey.objects.count() == 1
    exchanges = at_once(lambda: poll(begun).status_code)
    assert sorted(exchanges) == [200, 400, 400, 400]


def browser_of(browser: Client) -> Client:
    """Return another window of the same session."""
    other = Client()
    other.cookies = browser.cookies
    return other


def at_once(do: Any, times: int = 4) -> list[Any]:
    """Return the results of doing it in so many threads that start together."""
    start, results = threading.Barrier(times), []

    def run() -> None:
        try:
            start.wait()
            results.append(do())
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
