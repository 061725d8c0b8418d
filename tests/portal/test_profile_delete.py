"""Deleting one's account on the page: asked twice, told what is lost."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey, Membership, Role, Team, User
from api.account_opening import open_team
from billing.ledger import postings
from billing.models import CreditAccount
from portal.models import ChatPreference, Conversation
from tests.cast import signed_in
from tests.portal.chat_pages import made, send, store

pytestmark = pytest.mark.django_db


def test_the_right_password_deletes_and_signs_out(browser: Client, alice: User) -> None:
    answer = browser.post("/settings/delete", {"proof": "alices secret"})
    assert "Your account is deleted" in answer.content.decode()
    alice.refresh_from_db()
    assert not alice.is_active
    assert browser.get("/settings").status_code == 302
    assert not Client().login(username="alice@example.com", password="alices secret")


def test_stored_chats_and_their_keys_end_with_the_account(bob: User, alices_team: Team) -> None:
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})  # which outlives his account
    send(browser, "POST", "/chat/key")
    store(browser)
    made(browser)
    browser.post("/settings/delete", {"proof": "bobs secret"})
    bob.refresh_from_db()
    assert not bob.is_active
    assert not Conversation.objects.exists()
    assert not ChatPreference.objects.exists()
    key = ApiKey.objects.get()
    assert key.team == alices_team
    assert key.revoked_at is not None


@pytest.mark.parametrize("proof", ["", "wrong", "alice@example.com"])
def test_a_wrong_password_deletes_nothing(browser: Client, alice: User, proof: str) -> None:
    answer = browser.post("/settings/delete", {"proof": proof})
    assert answer.status_code == 422
    assert 'id="id_proof_error"' in answer.content.decode()
    alice.refresh_from_db()
    assert alice.is_active


def test_who_has_no_password_types_their_address(alice: User) -> None:
    alice.set_unusable_password()
    alice.save()
    browser = signed_in(alice)
    assert "Type alice@example.com" in browser.get("/settings/delete").content.decode()
    assert browser.post("/settings/delete", {"proof": "bob@example.com"}).status_code == 422
    assert browser.post("/settings/delete", {"proof": "Alice@example.com"}).status_code == 200
    alice.refresh_from_db()
    assert not alice.is_active


def test_credit_that_is_left_is_named_and_given_up_by_a_tick(
    browser: Client, alice: User, alices_account: CreditAccount
) -> None:
    postings.grant(alices_account, 12_340_000_000, reference="test")
    page = browser.get("/settings/delete").content.decode()
    assert "$12.34" in page
    assert "forfeited" in page
    assert 'name="proof"' in page
    answer = browser.post("/settings/delete", {"proof": "alices secret"})
    assert answer.status_code == 422
    assert 'id="id_forfeits_error"' in answer.content.decode()
    alice.refresh_from_db()
    assert alice.is_active
    browser.post("/settings/delete", {"proof": "alices secret", "forfeits": "on"})
    alice.refresh_from_db()
    assert not alice.is_active
    alices_account.refresh_from_db()
    assert alices_account.posted_nanos == 12_340_000_000


def test_the_only_owner_of_a_shared_team_is_told_what_to_do(
    browser: Client, alice: User, bob: User
) -> None:
    shared = open_team(alice, "Shared <b>")
    Membership.objects.create(user=bob, team=shared, role=Role.ADMIN)
    page = browser.get("/settings/delete").content.decode()
    assert "<bdi>Shared &lt;b&gt;</bdi>: make another member an owner" in page
    assert "<bdi>Alice</bdi>: remove its other members" in page
    assert 'name="proof"' not in page
    assert browser.post("/settings/delete", {"proof": "alices secret"}).status_code == 409
    alice.refresh_from_db()
    assert alice.is_active


def test_passwords_are_not_guessed_here(browser: Client, alice: User, monkeypatch: Any) -> None:
    monkeypatch.setattr("portal.profile.views.DELETION_TRIES_PER_USER", "2/h")
    for _ in range(2):
        assert browser.post("/settings/delete", {"proof": "wrong"}).status_code == 422
    assert browser.post("/settings/delete", {"proof": "alices secret"}).status_code == 429
    alice.refresh_from_db()
    assert alice.is_active
