"""What becomes of a key between its approval and its exchange, for devices and apps alike."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import api_keys, key_actions
from accounts.access import Actor
from accounts.models import ApiKey, Membership, Role, Team, User
from tests.api.webhooks.receiver import endpoint_of, events_of
from tests.cast import signed_in
from tests.portal import test_app_keys as apps
from tests.portal import test_device_sign_in as devices

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("default_catalogue")]

Fetch = Callable[[], str | None]


@pytest.fixture(params=["device", "app"])
def fetch(request: Any, browser: Client) -> Fetch:
    """Have Alice approve a key; return how its program fetches it, which is None if refused."""
    if request.param == "app":
        app = apps.App()
        code = apps.approved_code(browser, app)

        def exchange() -> str | None:
            try:
                return apps.exchange(code, app.verifier)[1]
            except apps.OAuthError:
                return None

        return exchange
    begun = devices.begin()
    assert devices.decide(browser, begun).status_code == 200
    return lambda: devices.poll(begun).json().get("access_token")


@pytest.fixture
def owner(alice: User, alices_team: Team) -> Actor:
    return Actor(team=alices_team, user=alice, role=Role.OWNER)


@pytest.mark.parametrize("grace_seconds", [0, 86_400])
def test_a_key_that_was_rotated_is_not_fetched(
    fetch: Fetch, owner: Actor, grace_seconds: int
) -> None:
    old = ApiKey.objects.get()
    _successor, plaintext = key_actions.rotate_key(owner, old, grace_seconds, ip_address=None)
    assert fetch() is None
    old.refresh_from_db()
    assert old.ends_at is not None
    assert old.ends_at - timezone.now() <= timedelta(minutes=10)
    assert api_keys.find_active(plaintext)


def test_who_may_no_longer_create_keys_gets_none_for_a_program(fetch: Fetch, alice: User) -> None:
    Membership.objects.filter(user=alice).update(role=Role.BILLING)
    assert fetch() is None


def test_an_expiry_that_was_changed_since_the_approval_holds(fetch: Fetch, owner: Actor) -> None:
    soon = timezone.now() + timedelta(hours=1)
    key_actions.update_key(owner, ApiKey.objects.get(), {"expires_at": soon}, ip_address=None)
    assert fetch()
    assert ApiKey.objects.get().ends_at == soon


def test_webhooks_are_sent_the_key_once_it_works(
    fetch: Fetch, alices_team: Team, browser: Client
) -> None:
    endpoint_of(alices_team, "https://receiver.example/")
    plaintext = fetch()
    assert plaintext
    key = ApiKey.objects.get()
    assert key.ends_at is not None
    ((event, data),) = events_of(alices_team)
    assert (event, data["api_key_id"]) == ("api_key.created", str(key.pk))
    assert data["api_key_hint"].endswith(plaintext[-4:])
    assert data["expires_at"] == key.ends_at.isoformat()


def test_a_change_that_began_before_a_device_signed_in_leaves_its_token_an_expiry(
    browser: Client, owner: Actor
) -> None:
    begun = devices.begin()
    devices.decide(browser, begun)
    read_before = ApiKey.objects.get()
    devices.poll(begun)
    key_actions.update_key(owner, read_before, {"expires_at": None}, ip_address=None)
    key = ApiKey.objects.get()
    assert key.expires_at is not None
    assert key.expires_at - timezone.now() <= timedelta(hours=8)


def test_staff_leave_the_expiry_to_the_device_that_renews_it(browser: Client) -> None:
    devices.sign_in(browser)
    key = ApiKey.objects.get()
    staff = signed_in(User.objects.create_superuser("boss@example.com"))
    form = {"name": "Renamed", "expires_at_0": "", "expires_at_1": ""}
    answer = staff.post(f"/admin/accounts/apikey/{key.pk}/change/", form)
    assert answer.status_code == 302, answer.content
    changed = ApiKey.objects.get()
    assert (changed.name, changed.expires_at) == ("Renamed", key.expires_at)


@pytest.mark.django_db(transaction=True)
def test_of_many_renewals_at_once_one_gets_tokens_and_none_ends_the_sign_in(
    browser: Client,
) -> None:
    token = devices.sign_in(browser)["refresh_token"]
    statuses = devices.at_once(lambda: devices.refresh(token).status_code)
    assert sorted(statuses) == [200, 401, 401, 401]
    assert ApiKey.objects.get().revoked_at is None
