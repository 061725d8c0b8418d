"""Unusual use of a key is told or stops the key: by its own history, once, and never by default."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import api_keys, key_actions
from accounts.access import Actor
from accounts.models import ApiKey, AuditEntry, Role, Team, User
from api import key_guard
from api.models import KeyGuard, KeyIncident, KeyNetwork
from api.tasks import guard_keys
from billing.models import CreditAccount, UsageHour
from portal.emails.sending import send_email
from portal.emails.tasks import send_notices
from tests.api.webhooks.receiver import endpoint_of, events_of
from tests.cast import IssuedKey

pytestmark = pytest.mark.django_db

DOLLAR = 10**9
HOUR = timedelta(hours=1)
NOW = datetime(2026, 11, 30, 14, 25, tzinfo=UTC)
THIS_HOUR = NOW.replace(minute=0)

Spend = Callable[..., None]


@pytest.fixture
def spend(alices_account: CreditAccount, alices_key: IssuedKey) -> Spend:
    """Return a function that has Alice's key, or another, spend dollars so many hours ago."""

    def add(dollars: float, hours_ago: int = 0, key: ApiKey | None = None) -> None:
        UsageHour.objects.update_or_create(
            hour=THIS_HOUR - hours_ago * HOUR,
            account=alices_account,
            key=key or alices_key.key,
            model="glm-5.2",
            defaults={"charged_nanos": int(dollars * DOLLAR), "requests": 1},
        )

    return add


@pytest.fixture
def habit(spend: Spend) -> None:
    """A week in which the key spent $1 to $4 in each of eight hours a day."""
    for day in range(1, 8):
        for hour in range(8):
            spend(1 + hour % 4, 24 * day + hour)


@pytest.fixture
def freezes(alices_key: IssuedKey) -> None:
    """A guard that freezes Alice's key."""
    KeyGuard.objects.create(key=alices_key.key, on_spike="freeze", on_new_network="freeze")


def look(minutes: int = 0) -> int:
    return key_guard.guard_keys(NOW + timedelta(minutes=minutes))


def is_frozen(key: ApiKey) -> bool:
    key.refresh_from_db()
    return key.frozen_at is not None


@pytest.mark.usefixtures("habit")
@pytest.mark.parametrize(
    ("dollars", "hours_ago", "is_spike"),
    [
        (4, 0, False),
        (12, 0, False),
        (12.01, 0, True),
        (100, 0, True),
        (100, 1, True),
        (100, 2, False),
    ],
    ids=["usual", "three times", "more than that", "far more", "in the last hour", "long ago"],
)
def test_a_spike_is_three_times_the_highest_hour(
    spend: Spend, dollars: float, hours_ago: int, is_spike: bool
) -> None:
    spend(dollars, hours_ago)
    assert look() == is_spike


def test_below_the_floor_nothing_is_a_spike(spend: Spend, settings: Any) -> None:
    for hour in range(1, 30):
        spend(0.01, 3 * hour)
    spend(5)
    assert look() == 0
    spend(5.01)
    assert look() == 1


@pytest.mark.parametrize(
    "hours_ago",
    [[], list(range(1, 40)), [24 * day for day in range(1, 9)], [24 * 15 + n for n in range(40)]],
    ids=["none", "since yesterday", "few hours", "too long ago"],
)
def test_a_key_without_a_history_is_not_judged(spend: Spend, hours_ago: list[int]) -> None:
    for ago in hours_ago:
        spend(1, ago)
    spend(1000)
    assert look() == 0


@pytest.mark.usefixtures("habit")
def test_one_large_batch_a_week_is_usual(spend: Spend) -> None:
    spend(50, 24 * 6 + 20)
    spend(140)
    assert look() == 0


@pytest.mark.usefixtures("habit")
def test_a_rotated_keys_history_is_its_successors(
    spend: Spend, alices_key: IssuedKey, alices_team: Team
) -> None:
    successor, _ = api_keys.rotate_key(alices_key.key, 3600)
    spend(11, key=successor)
    assert look() == 0
    spend(13, key=successor)
    assert look() == 1


@pytest.mark.usefixtures("habit")
def test_by_default_a_spike_is_told_and_the_key_works_on(
    spend: Spend, alices_key: IssuedKey, alices_team: Team
) -> None:
    endpoint_of(alices_team, "https://example.com/hook")
    spend(40)
    assert [look(), look(1)] == [1, 0]
    assert not is_frozen(alices_key.key)
    ((kind, data),) = events_of(alices_team)
    assert kind == "api_key.flagged"
    assert (data["reason"], data["spent_usd"]) == ("spike", "40.000000000")
    assert AuditEntry.objects.get(action="key.flagged").actor_label == "the service"
    spend(110)
    assert look(2) == 0, "what was told is usual now"
    spend(121)
    assert look(3) == 1


@pytest.mark.usefixtures("habit")
def test_off_is_off(spend: Spend, alices_key: IssuedKey) -> None:
    KeyGuard.objects.create(key=alices_key.key, on_spike="off")
    spend(1000)
    assert look() == 0


@pytest.mark.usefixtures("habit", "freezes")
def test_a_frozen_key_is_resumed_by_one_click_and_stays_resumed(
    spend: Spend,
    alices_key: IssuedKey,
    alices_team: Team,
    browser: Client,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    endpoint_of(alices_team, "https://example.com/hook")
    spend(40)
    assert [look(), look(1)] == [1, 0]
    key = alices_key.key
    assert is_frozen(key)
    assert key.is_frozen_by_team
    assert [kind for kind, _ in events_of(alices_team)] == ["api_key.frozen"]
    entry = AuditEntry.objects.get(action="key.frozen")
    assert entry.detail["spent_in_hour"] == "$40"

    monkeypatch.setattr(send_email, "apply_async", lambda sent, **_options: send_email(*sent))
    KeyIncident.objects.update(created_at=timezone.now())
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            send_notices()
    told = [each for each in mail.outbox if "frozen" in each.subject]
    assert [each.to for each in told] == [["alice@example.com"]]
    url = f"/settings/apikeys/{key.pk}"
    assert url in str(told[0].body)
    assert "$40.00" in str(told[0].body)

    assert "An API key was frozen." in browser.get("/dashboard").content.decode()
    page = browser.get(url).content.decode()
    assert "We froze it because it spent $40.00 in an hour" in page
    assert is_frozen(key), "a GET resumes nothing: mail programs follow links"
    assert browser.post(f"{url}/unfreeze").status_code == 302
    assert not is_frozen(key)
    assert "An API key was frozen." not in browser.get("/dashboard").content.decode()
    spend(60)
    assert [look(2), look(65)] == [0, 0], "nor for the rest of the spike"
    assert not is_frozen(key)


@pytest.mark.usefixtures("habit", "freezes")
def test_a_key_that_is_frozen_already_is_left_alone(
    spend: Spend, alices_key: IssuedKey, alices_team: Team, alice: User
) -> None:
    actor = Actor(team=alices_team, user=alice, role=Role.OWNER)
    endpoint_of(alices_team, "https://example.com/hook")
    key = key_actions.freeze_key(actor, alices_key.key, ip_address=None)
    assert [data["reason"] for _, data in events_of(alices_team)] == ["member"]
    spend(1000)
    assert look() == 0
    assert key_guard.frozen_by(key) is None


def seen(key: ApiKey, network: str, **ago: float) -> KeyNetwork:
    at = timezone.now() - timedelta(**ago)
    return KeyNetwork.objects.create(
        key=key, network=network, first_seen_at=at, last_seen_at=timezone.now()
    )


def test_a_new_network_of_a_key_with_a_history_freezes_it_once(
    alices_key: IssuedKey, alices_team: Team, freezes: None
) -> None:
    key = alices_key.key
    seen(key, "192.0.2.0", days=8)
    assert guard_keys() == 0, "its first network"
    seen(key, "203.0.113.0")
    assert [guard_keys(), guard_keys()] == [1, 0]
    assert is_frozen(key)
    assert key_guard.network_text(KeyIncident.objects.get()) == "203.0.113.0/24"
    actor = Actor(team=alices_team, role=Role.OWNER)
    key_actions.unfreeze_key(actor, key, ip_address=None)
    assert guard_keys() == 0
    assert not is_frozen(key)


def test_without_a_week_of_history_or_by_default_a_network_is_only_noted(
    alices_key: IssuedKey, bobs_key: IssuedKey, freezes: None
) -> None:
    seen(alices_key.key, "192.0.2.0", days=6)
    seen(alices_key.key, "203.0.113.0")
    seen(bobs_key.key, "192.0.2.0", days=60)
    seen(bobs_key.key, "203.0.113.0")
    assert guard_keys() == 0
    assert not KeyNetwork.objects.filter(is_judged=False).exists()


def test_networks_of_keys_without_a_guard_are_not_judged_one_by_one(
    bobs_key: IssuedKey, django_assert_num_queries: Any
) -> None:
    for n in range(5):
        seen(bobs_key.key, f"203.0.{n}.0")
    with django_assert_num_queries(4):
        assert guard_keys() == 0
    assert not KeyNetwork.objects.filter(is_judged=False).exists()


def test_networks_long_unused_are_forgotten(alices_key: IssuedKey) -> None:
    seen(alices_key.key, "192.0.2.0")
    old = seen(alices_key.key, "203.0.113.0")
    KeyNetwork.objects.filter(pk=old.pk).update(last_seen_at=timezone.now() - timedelta(days=31))
    assert key_guard.forget_networks(timezone.now()) == 1
    api_keys.revoke_key(alices_key.key)
    assert key_guard.forget_networks(timezone.now()) == 1


def test_a_member_chooses_what_is_done(browser: Client, alices_key: IssuedKey) -> None:
    url = f"/settings/apikeys/{alices_key.key.pk}"
    chosen = {"on_spike": "freeze", "on_new_network": "warn"}
    assert browser.post(f"{url}/guard", chosen).status_code == 302
    guard = KeyGuard.objects.get(key=alices_key.key)
    assert (guard.on_spike, guard.on_new_network) == ("freeze", "warn")
    assert AuditEntry.objects.get(action="key.guarded").detail == chosen
    assert browser.post(f"{url}/guard", {"on_spike": "explode"}).status_code == 400
    page = browser.get(url).content.decode()
    assert '<option value="freeze" selected>' in page
