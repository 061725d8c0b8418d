"""Name and notification settings."""

import re

import pytest
from django.test import Client

from accounts.models import NotificationSettings, User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path", ["/settings", "/settings/notifications", "/settings/data", "/settings/delete"]
)
def test_settings_are_for_who_is_signed_in(browser: Client, path: str) -> None:
    assert browser.get(path).status_code == 200
    answer = Client().get(path)
    assert answer.status_code == 302
    assert answer["Location"] == f"/accounts/login/?next={path}"


def test_a_name_is_saved_as_one_line(browser: Client, alice: User) -> None:
    answer = browser.post("/settings", {"name": " Alice\r\nLiddell "}, follow=True)
    alice.refresh_from_db()
    assert alice.name == "Alice Liddell"
    assert "Profile saved" in answer.content.decode()


def test_a_name_that_is_too_long_is_an_error_at_its_field(browser: Client, alice: User) -> None:
    answer = browser.post("/settings", {"name": "x" * 151})
    assert answer.status_code == 422
    assert 'id="id_name_error"' in answer.content.decode()
    alice.refresh_from_db()
    assert alice.name == "Alice"


def test_only_the_name_is_taken_from_the_form(browser: Client, alice: User) -> None:
    form = {"name": "A", "email": "x@example.com", "is_staff": "on", "is_superuser": "on"}
    browser.post("/settings", form)
    alice.refresh_from_db()
    assert (alice.email, alice.is_staff, alice.is_superuser) == ("alice@example.com", False, False)


def test_every_notification_is_on_until_it_is_switched_off(browser: Client, alice: User) -> None:
    page = browser.get("/settings/notifications").content.decode()
    assert len(re.findall(r'type="checkbox"[^>]*checked', page)) == 4
    assert 'value="5"' in page
    form = {"low_balance_nanos": "$2.50", "key_created": "on"}
    assert browser.post("/settings/notifications", form).status_code == 302
    wanted = NotificationSettings.objects.get(user=alice)
    assert wanted.low_balance_nanos == 2_500_000_000
    assert (wanted.low_balance, wanted.budget_reached) == (False, False)
    assert (wanted.key_created, wanted.new_sign_in) == (True, False)
    page = browser.get("/settings/notifications").content.decode()
    assert len(re.findall(r'type="checkbox"[^>]*checked', page)) == 1
    assert 'value="2.5"' in page


@pytest.mark.parametrize("amount", ["", "much", "-1", "0", "1e3", "1000001", "9" * 40, "NaN"])
def test_a_threshold_that_is_no_amount_is_an_error_at_its_field(
    browser: Client, amount: str
) -> None:
    answer = browser.post("/settings/notifications", {"low_balance_nanos": amount})
    assert answer.status_code == 422
    assert 'id="id_low_balance_nanos_error"' in answer.content.decode()
    assert not NotificationSettings.objects.exists()
