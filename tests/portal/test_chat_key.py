"""The key that a page calls the API with: short-lived, one for a session, never at rest."""

from datetime import timedelta
from typing import Any

import pytest
from allauth.account.signals import password_changed, password_reset, password_set
from allauth.usersessions.models import UserSession
from django.test import Client
from django.utils import timezone

from accounts import api_keys
from accounts.models import ApiKey, Membership, Role, Team, User
from portal import access
from portal.chat import queries, receivers
from tests.cast import everything_in_the_database, issue, signed_in
from tests.portal.chat_pages import send

pytestmark = pytest.mark.django_db


def ask_for_key(browser: Client, team: Team) -> Any:
    return send(browser, "POST", "/chat/key", team=team)


def test_the_key_opens_the_team_and_is_the_members(alice: User, alices_team: Team) -> None:
    answer = ask_for_key(signed_in(alice), alices_team)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    key = api_keys.find_active(answer.json()["key"])
    assert key is not None
    assert (key.team, key.created_by, key.scope) == (alices_team, alice, "inference")
    assert key.name == queries.CHAT_KEY_NAME


def test_the_plaintext_is_nowhere_in_the_database(alice: User, alices_team: Team) -> None:
    plaintext = ask_for_key(signed_in(alice), alices_team).json()["key"]
    assert plaintext not in everything_in_the_database()


def test_the_key_ends_after_a_quarter_of_an_hour(alice: User, alices_team: Team) -> None:
    answer = ask_for_key(signed_in(alice), alices_team).json()
    key = ApiKey.objects.get(chat_key__isnull=False)
    assert key.expires_at is not None
    assert timedelta(minutes=14) < key.expires_at - timezone.now() <= timedelta(minutes=15)
    assert answer["expires_in_seconds"] == 900
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert api_keys.find_active(answer["key"]) is None


def test_a_new_key_ends_the_sessions_former_one_and_no_other(
    alice: User, alices_team: Team
) -> None:
    here, elsewhere = signed_in(alice), signed_in(alice)
    first = ask_for_key(here, alices_team).json()["key"]
    other = ask_for_key(elsewhere, alices_team).json()["key"]
    second = ask_for_key(here, alices_team).json()["key"]
    assert api_keys.find_active(first) is None
    assert api_keys.find_active(other) is not None
    assert api_keys.find_active(second) is not None


def test_signing_out_revokes_the_key(alice: User, alices_team: Team) -> None:
    browser = signed_in(alice)
    plaintext = ask_for_key(browser, alices_team).json()["key"]
    browser.post("/accounts/logout/")
    assert api_keys.find_active(plaintext) is None


def test_a_new_password_revokes_the_keys_of_all_sessions(
    alice: User, alices_team: Team, alices_key: Any
) -> None:
    browsers = [signed_in(alice), signed_in(alice)]
    chats = [ask_for_key(browser, alices_team).json()["key"] for browser in browsers]
    new = {
        "oldpassword": "alices secret",
        "password1": "another secret",
        "password2": "another secret",
    }
    assert browsers[0].post("/accounts/password/change/", new).status_code == 302
    assert [api_keys.find_active(each) for each in chats] == [None, None]
    assert api_keys.find_active(alices_key.plaintext) is not None


def test_a_password_that_is_reset_or_set_revokes_them_too() -> None:
    for signal in (password_changed, password_reset, password_set):
        assert receivers._on_password_changed in signal._live_receivers(User)[0]


def test_ending_a_session_elsewhere_revokes_its_key(alice: User, alices_team: Team) -> None:
    here, there = signed_in(alice), signed_in(alice)
    plaintext = ask_for_key(there, alices_team).json()["key"]
    elsewhere = UserSession.objects.create(
        user=alice, session_key=there.session.session_key, ip="192.0.2.1", user_agent="x"
    )
    here.post(f"/accounts/sessions/{elsewhere.pk}/end")
    assert api_keys.find_active(plaintext) is None
    assert ask_for_key(here, alices_team).status_code == 200


def test_leaving_the_team_revokes_the_key_and_no_other(bob: User, alices_team: Team) -> None:
    browser = signed_in(bob)
    session = browser.session
    session["team"] = alices_team.slug
    session.save()
    plaintext = ask_for_key(browser, alices_team).json()["key"]
    made = issue(alices_team, bob, "By hand")
    Membership.objects.filter(user=bob, team=alices_team).delete()
    assert api_keys.find_active(plaintext) is None
    assert api_keys.find_active(made.plaintext) is not None


def test_signing_out_leaves_keys_that_people_made(alice: User, alices_key: Any) -> None:
    browser = signed_in(alice)
    ask_for_key(browser, alices_key.key.team)
    browser.post("/accounts/logout/")
    assert api_keys.find_active(alices_key.plaintext) is not None


def test_who_acts_for_another_team_by_now_gets_no_key(alice: User, charlies_team: Team) -> None:
    answer = ask_for_key(signed_in(alice), charlies_team)
    assert answer.status_code == 409
    assert "Reload" in answer.json()["error"]
    assert not ApiKey.objects.filter(created_by=alice).exists()


def test_a_billing_member_gets_no_key(alices_team: Team, bob: User) -> None:
    Membership.objects.filter(user=bob, team=alices_team).update(role=Role.BILLING)
    browser = signed_in(bob)
    session = browser.session
    session["team"] = alices_team.slug
    session.save()
    assert ask_for_key(browser, alices_team).status_code == 403
    assert not ApiKey.objects.filter(team=alices_team, chat_key__isnull=False).exists()


def test_keys_are_refused_to_who_asks_too_often(
    alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_KEYS_AN_HOUR", 2)
    browser = signed_in(alice)
    statuses = [ask_for_key(browser, alices_team).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]


def test_a_key_needs_a_csrf_token_a_session_and_a_post(alice: User, alices_team: Team) -> None:
    strict = signed_in(alice, enforce_csrf_checks=True)
    assert ask_for_key(strict, alices_team).status_code == 403
    assert ask_for_key(Client(), alices_team).status_code == 302
    assert signed_in(alice).get("/chat/key").status_code == 405


def test_made_by_the_site_is_told_by_a_mark_and_not_by_the_name(
    alice: User, alices_team: Team
) -> None:
    ask_for_key(signed_in(alice), alices_team)
    namesake, _ = api_keys.create_key(alices_team, alice, queries.CHAT_KEY_NAME, prefix="sk-tg-")
    everyones = ApiKey.objects.filter(team=alices_team)
    assert list(access.without_chat_keys(everyones)) == [namesake]
    assert access.only_chat_keys(everyones).count() == 1
