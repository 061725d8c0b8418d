"""Freezing a key: by its team, by staff, and what either can undo."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import api_keys, key_actions
from accounts.access import Actor
from accounts.errors import KeyFrozenError, KeyNotActiveError, TooManyKeysError
from accounts.models import ApiKey, AuditEntry, Membership, Role, Team, User
from billing.models import CreditAccount
from tests.cast import IssuedKey, issue, signed_in
from tests.portal.keys_pages import URL
from tests.portal.serving import DOLLAR, customer_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def key(alices_key: IssuedKey) -> ApiKey:
    return alices_key.key


def post(browser: Client, key: ApiKey, action: str) -> Any:
    return browser.post(f"{URL}/{key.pk}/{action}", follow=True)


@pytest.mark.django_db(transaction=True)  # the ledger compares with the transaction's time
def test_a_frozen_key_is_refused_until_it_is_unfrozen(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey, key: ApiKey
) -> None:
    expiry = timezone.now() + timedelta(days=3)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=expiry)
    customer = customer_of(alices_account, alices_key, DOLLAR)
    assert customer.code() == "admitted"
    page = post(browser, key, "freeze").content.decode()
    assert "Frozen since" in page
    assert f"{URL}/{key.pk}/edit" not in page
    assert customer.code() == "invalid_api_key"
    page = post(browser, key, "unfreeze").content.decode()
    assert "Key unfrozen" in page
    assert customer.code() == "admitted"
    key.refresh_from_db()
    assert (key.expires_at, key.frozen_at, key.unfrozen_expires_at) == (expiry, None, None)
    actions = AuditEntry.objects.order_by("id").values_list("action", flat=True)
    assert list(actions)[-2:] == ["key.frozen", "key.unfrozen"]


def test_a_frozen_key_stays_in_the_list_and_can_be_revoked(browser: Client, key: ApiKey) -> None:
    post(browser, key, "freeze")
    (own,) = browser.get(URL).context["listing"].keys
    assert own.state.title == "Frozen"
    assert browser.post(f"{URL}/{key.pk}/edit", {"name": "x"}).status_code == 409
    assert browser.post(f"{URL}/{key.pk}/rotate", {"grace_seconds": "0"}).status_code == 409
    post(browser, key, "revoke")
    assert browser.get(URL).context["listing"].keys == []
    assert post(browser, key, "unfreeze").status_code == 409
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_what_staff_froze_its_team_cannot_unfreeze(browser: Client, key: ApiKey) -> None:
    api_keys.freeze_key(key, is_by_team=False)
    page = browser.get(f"{URL}/{key.pk}").content.decode()
    assert "Our staff froze this key" in page
    assert f"{URL}/{key.pk}/unfreeze" not in page
    answer = post(browser, key, "unfreeze")
    assert answer.status_code == 409
    assert "frozen by our staff" in answer.content.decode()
    assert post(browser, key, "freeze").status_code == 409
    key.refresh_from_db()
    assert key.frozen_at is not None
    assert api_keys.unfreeze_key(key, is_by_team=False).frozen_at is None


def test_staff_take_over_a_key_that_its_team_froze(key: ApiKey) -> None:
    expiry = timezone.now() + timedelta(days=3)
    ApiKey.objects.filter(pk=key.pk).update(expires_at=expiry)
    api_keys.freeze_key(key, is_by_team=True)
    api_keys.freeze_key(key, is_by_team=False)
    with pytest.raises(KeyFrozenError):
        api_keys.unfreeze_key(key, is_by_team=True)
    with pytest.raises(KeyNotActiveError):
        api_keys.freeze_key(key, is_by_team=False)
    assert api_keys.unfreeze_key(key, is_by_team=False).expires_at == expiry


def test_a_key_is_frozen_once_and_unfrozen_once(key: ApiKey) -> None:
    with pytest.raises(KeyNotActiveError):
        api_keys.unfreeze_key(key, is_by_team=True)
    api_keys.freeze_key(key, is_by_team=True)
    with pytest.raises(KeyNotActiveError):
        api_keys.freeze_key(key, is_by_team=True)
    api_keys.unfreeze_key(key, is_by_team=True)
    with pytest.raises(KeyNotActiveError):
        api_keys.unfreeze_key(key, is_by_team=True)


def test_a_key_whose_time_ends_while_it_is_frozen_has_expired(browser: Client, key: ApiKey) -> None:
    api_keys.freeze_key(key, is_by_team=True)
    ApiKey.objects.update(unfrozen_expires_at=timezone.now() - timedelta(seconds=1))
    assert browser.get(URL).context["listing"].keys == []
    (own,) = browser.get(URL, {"show": "all"}).context["listing"].keys
    assert own.state.title == "Expired"
    assert not own.may_unfreeze
    assert not own.may_revoke


def test_unfreezing_needs_room_for_a_key(alice: User, alices_team: Team, key: ApiKey) -> None:
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    key_actions.freeze_key(actor, key, ip_address=None)
    Team.objects.update(max_keys=1)
    issue(alices_team, alice)
    with pytest.raises(TooManyKeysError):
        key_actions.unfreeze_key(actor, key, ip_address=None)


def test_only_members_who_manage_a_key_freeze_it(alices_team: Team, bob: User, key: ApiKey) -> None:
    Membership.objects.filter(user=bob, team=alices_team).update(role=Role.DEVELOPER)
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    for action in ("freeze", "unfreeze"):
        assert post(browser, key, action).status_code == 403
    key.refresh_from_db()
    assert key.frozen_at is None


def test_the_management_api_calls_a_frozen_key_frozen(
    client: Client, alices_team: Team, alice: User
) -> None:
    key, plaintext = issue(alices_team, alice, scope=ApiKey.Scope.MANAGEMENT)
    headers = {"Authorization": f"Bearer {plaintext}"}
    assert client.get("/api/manage/v1/team", headers=headers).status_code == 200
    api_keys.freeze_key(key, is_by_team=True)
    answer = client.get("/api/manage/v1/team", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_frozen")
    api_keys.revoke_key(key)
    answer = client.get("/api/manage/v1/team", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
