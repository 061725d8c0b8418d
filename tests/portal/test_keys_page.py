"""A key's own page: seen, changed, rotated, revoked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import api_keys
from accounts.models import ApiKey, AuditEntry, Membership, Role, Team, User
from api.models import KeyAddress
from billing.models import KeySpend, UsageHour
from tests.billing.ledger_calls import make_customer
from tests.cast import IssuedKey, everything_in_the_database, issue, signed_in
from tests.portal.keys_pages import URL, errors, plaintexts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alices_account", "default_catalogue")]


@pytest.fixture
def key_url(alices_key: IssuedKey) -> str:
    return f"{URL}/{alices_key.key.pk}"


def edit_form(browser: Client, url: str, **fields: Any) -> dict[str, Any]:
    """Return the form as it is shown, with changes."""
    form = browser.get(f"{url}/edit").context["form"]
    shown = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in {**shown, **fields}.items() if value is not None}


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


def test_use_by_day_is_shown_for_thirty_days(alice: Any) -> None:
    customer = make_customer(10**9)
    Membership.objects.create(user=alice, team=customer.team, role=Role.OWNER)
    browser = signed_in(alice)
    browser.post("/team/switch", {"team": customer.team.slug})
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    other = customer.another_key()
    for days, model, key, nanos in (
        (0, "small", customer.key, 100),
        (0, "large", customer.key, 11),
        (29, "small", customer.key, 5),
        (30, "small", customer.key, 7),
        (0, "small", other.key, 13),
    ):
        UsageHour.objects.create(
            hour=today - timedelta(days=days),
            account=customer.account,
            key=key,
            model=model,
            requests=2,
            errors=1,
            charged_nanos=nanos,
        )
    daily_cost = browser.get(f"{URL}/{customer.key.pk}").context["daily_cost"]
    assert len(daily_cost.bars) == 30
    assert (daily_cost.charged_nanos, daily_cost.requests, daily_cost.most_nanos) == (
        116,
        8 - 2,
        111,
    )
    first, last = daily_cost.bars[0].use, daily_cost.bars[-1].use
    assert (first.day, first.charged_nanos) == ((today - timedelta(days=29)).date(), 5)
    assert (last.day, last.charged_nanos, last.errors) == (today.date(), 111, 2)
    assert (daily_cost.bars[-1].height, daily_cost.bars[0].height, daily_cost.bars[5].height) == (
        80,
        3,
        0,
    )


@pytest.mark.parametrize("page", ["", "/edit", "/rotate", "/revoke"])
def test_pages_take_few_queries(
    browser: Client, key_url: str, page: str, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(15):
        assert browser.get(f"{key_url}{page}").status_code == 200


def test_what_is_changed_is_saved_and_the_rest_is_left(
    browser: Client, key_url: str, alices_key: IssuedKey
) -> None:
    form = edit_form(
        browser, key_url, name="Renamed", budget_day="0.25", allowed_models=["glm-5.2"]
    )
    answer = browser.post(f"{key_url}/edit", form)
    assert (answer.status_code, answer["Location"]) == (302, key_url)
    key = ApiKey.objects.get()
    assert (key.name, key.budget_day_nanos) == ("Renamed", 250_000_000)
    assert (key.allowed_models, key.expires_at) == (["glm-5.2"], None)
    entry = AuditEntry.objects.get()
    assert entry.detail == {"fields": ["allowed_models", "budget_day_nanos", "name"]}
    assert "Changes saved" in browser.get(key_url).content.decode()


def test_a_form_that_is_sent_as_it_was_changes_nothing(
    browser: Client, alices_team: Any, alice: Any
) -> None:
    key = issue(
        alices_team,
        alice,
        allowed_models=["no-longer-sold", "glm-5.2"],
        requests_per_minute=100_000,  # beyond the plan's: staff gave it
        tokens_per_minute=5,
        budget_day_nanos=1,
        budget_total_nanos=0,
        expires_at=timezone.now() + timedelta(days=3),
    ).key
    before = ApiKey.objects.values().get()
    url = f"{URL}/{key.pk}"
    assert browser.post(f"{url}/edit", edit_form(browser, url)).status_code == 302
    assert ApiKey.objects.values().get() == before
    assert actions() == []


def test_rules_can_be_taken_back(browser: Client, alices_team: Any, alice: Any) -> None:
    key = issue(
        alices_team,
        alice,
        allowed_models=["glm-5.2"],
        requests_per_minute=5,
        budget_day_nanos=1,
        expires_at=timezone.now() + timedelta(days=3),
    ).key
    url = f"{URL}/{key.pk}"
    changes = {"requests_per_minute": "", "budget_day": "", "allowed_models": [], "expiry": "never"}
    browser.post(f"{url}/edit", edit_form(browser, url, **changes))
    key.refresh_from_db()
    assert key.requests_per_minute is key.budget_day_nanos is key.expires_at is None
    assert key.allowed_models == []


def test_a_mistake_in_a_change_is_said_and_nothing_saved(browser: Client, key_url: str) -> None:
    before = ApiKey.objects.values().get()
    answer = browser.post(
        f"{key_url}/edit",
        edit_form(browser, key_url, name="new", requests_per_minute="61", budget_day="x"),
    )
    assert answer.status_code == 400
    assert sorted(errors(answer)) == ["budget_day", "requests_per_minute"]
    assert ApiKey.objects.values().get() == before


def test_rotation_shows_the_successor_once(
    browser: Client, key_url: str, alices_key: IssuedKey
) -> None:
    answer = browser.post(f"{key_url}/rotate", {"grace_seconds": "3600"})
    (plaintext,) = plaintexts(answer)
    assert "no-store" in answer["Cache-Control"]
    new = api_keys.find_active(plaintext)
    assert new.replaces == alices_key.key
    left = api_keys.find_active(alices_key.plaintext).expires_at - timezone.now()
    assert timedelta(minutes=55) < left <= timedelta(hours=1)
    page = browser.get(key_url).content.decode()
    assert f'href="{URL}/{new.pk}"' in page
    assert f"{key_url}/rotate" not in page
    assert f'href="{key_url}"' in browser.get(f"{URL}/{new.pk}").content.decode()
    assert plaintext[6:-4] not in everything_in_the_database() + page
    assert actions() == ["key.rotated"]


def test_rotation_without_grace_says_that_the_old_key_has_ended(
    browser: Client, key_url: str, alices_key: IssuedKey
) -> None:
    answer = browser.post(f"{key_url}/rotate", {"grace_seconds": "0"})
    assert "no longer works" in answer.content.decode()
    assert api_keys.find_active(alices_key.plaintext) is None


def test_a_rotation_that_is_sent_again_says_so_and_makes_no_key(
    browser: Client, key_url: str
) -> None:
    browser.post(f"{key_url}/rotate", {"grace_seconds": "60"})
    browser.post(f"{key_url}/rotate", {"grace_seconds": "3600"})
    again = browser.post(f"{key_url}/rotate", {"grace_seconds": "3600"})
    assert again.status_code == 409
    assert "was already rotated" in again.content.decode()
    assert not plaintexts(again)
    assert ApiKey.objects.count() == 2
    assert actions() == ["key.rotated"]


@pytest.mark.parametrize("grace", ["", "60", "-1", "soon"])
def test_a_grace_that_is_none_of_the_choices_is_refused(
    browser: Client, key_url: str, grace: str
) -> None:
    answer = browser.post(f"{key_url}/rotate", {"grace_seconds": grace})
    assert answer.status_code == 400
    assert list(errors(answer)) == ["grace_seconds"]
    assert ApiKey.objects.count() == 1


def test_revocation_is_asked_for_then_done_at_once(
    browser: Client, key_url: str, alices_key: IssuedKey
) -> None:
    asked = browser.get(f"{key_url}/revoke").content.decode()
    assert "get a 401" in asked
    assert api_keys.find_active(alices_key.plaintext)
    answer = browser.post(f"{key_url}/revoke")
    assert (answer.status_code, answer["Location"]) == (302, key_url)
    assert api_keys.find_active(alices_key.plaintext) is None
    page = browser.get(key_url).content.decode()
    assert "Key revoked" in page
    for gone in ("edit", "rotate", "revoke"):
        assert f"{key_url}/{gone}" not in page
    browser.post(f"{key_url}/revoke")
    assert actions() == ["key.revoked"]
    assert "It no longer works" in browser.get(f"{key_url}/revoke").content.decode()


def test_a_key_that_has_ended_is_neither_changed_nor_rotated(
    browser: Client, key_url: str, alices_key: IssuedKey
) -> None:
    form = edit_form(browser, key_url, name="new")
    api_keys.revoke_key(alices_key.key)
    before = ApiKey.objects.values().get()
    for page, fields in (("edit", form), ("rotate", {"grace_seconds": "3600"})):
        for answer in (browser.get(f"{key_url}/{page}"), browser.post(f"{key_url}/{page}", fields)):
            assert answer.status_code == 409
            assert 'role="alert"' in answer.content.decode()
    assert ApiKey.objects.values().get() == before


def test_a_key_that_ends_meanwhile_is_not_changed(
    browser: Client, key_url: str, alices_key: IssuedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = edit_form(browser, key_url, name="new")
    update_key = api_keys.update_key

    def revoked_just_before(key: ApiKey, rules: Any) -> ApiKey:
        api_keys.revoke_key(key)
        return update_key(key, rules)

    monkeypatch.setattr(api_keys, "update_key", revoked_just_before)
    answer = browser.post(f"{key_url}/edit", form)
    assert answer.status_code == 409
    assert "revoked or expired. Create a new one" in answer.content.decode()


def test_a_management_key_shows_neither_models_nor_spending(
    browser: Client, management_key: IssuedKey
) -> None:
    page = browser.get(f"{URL}/{management_key.key.pk}").content.decode()
    assert "Spending" not in page
    assert "<dt>Models</dt>" not in page


def test_an_expiry_on_a_day_lasts_to_its_end_in_utc(browser: Client, key_url: str) -> None:
    day = (timezone.now() + timedelta(days=10)).date()
    form = edit_form(browser, key_url, expiry="day", expires_on=day.isoformat())
    browser.post(f"{key_url}/edit", form)
    end = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    assert ApiKey.objects.get().expires_at == end


def test_the_address_of_the_last_request_is_shown(
    browser: Client, alices_team: Team, alice: User
) -> None:
    key = issue(alices_team, alice).key
    KeyAddress.objects.create(key=key, address="2001:db8::7")
    now = timezone.now()
    KeySpend.objects.create(key=key, day=now.date(), month=now.date(), last_used_at=now)
    for path in (URL, f"{URL}/{key.pk}"):
        assert "2001:db8::7" in browser.get(path).content.decode()
