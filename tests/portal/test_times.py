"""Times are in the reader's zone, which they name; exports are in UTC."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from accounts.models import Team, User
from accounts.zones import moment_text, zone_names, zone_of
from billing.ledger import postings
from billing.models import CreditAccount, Transfer
from portal.ui.times import ReaderZone
from tests.portal.serving import DOLLAR

MOMENT = datetime(2026, 1, 31, 23, 30, 5, tzinfo=UTC)


def joined(browser: Client, user: User) -> str:
    """Return when the profile says that the user joined."""
    User.objects.filter(pk=user.pk).update(created_at=MOMENT)
    page = browser.get("/settings").content.decode()
    found = re.search(r"Member since</dt><dd><time[^>]*>([^<]+)<", page)
    assert found
    return found[1]


@pytest.mark.django_db
def test_without_a_zone_times_are_in_utc(browser: Client, alice: User, alices_team: Team) -> None:
    assert joined(browser, alice) == "2026-01-31"


@pytest.mark.django_db
def test_the_browsers_zone_is_a_cookie(browser: Client, alice: User, alices_team: Team) -> None:
    browser.cookies["zone"] = "Asia/Tokyo"
    assert joined(browser, alice) == "2026-02-01"
    assert timezone.get_current_timezone_name() == "UTC", "the zone outlives the request"


@pytest.mark.django_db
@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "", "x" * 5000])
def test_a_cookie_that_names_no_zone_is_ignored(
    browser: Client, alice: User, alices_team: Team, zone: str
) -> None:
    browser.cookies["zone"] = zone
    assert joined(browser, alice) == "2026-01-31"


@pytest.mark.django_db
def test_the_profiles_zone_comes_before_the_browsers(
    browser: Client, alice: User, alices_team: Team
) -> None:
    browser.cookies["zone"] = "America/New_York"
    answer = browser.post("/settings", {"name": "Alice", "zone": "Asia/Tokyo"})
    assert answer.status_code == 302
    assert joined(browser, alice) == "2026-02-01"

    answer = browser.post("/settings", {"name": "Alice", "zone": "Mars/Base"})
    assert "Select a valid choice" in answer.content.decode()
    alice.refresh_from_db()
    assert alice.zone == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2026-01-31 23:30:05 UTC"),
        ("Europe/Prague", "2026-02-01 00:30:05 CET"),
        ("America/Sao_Paulo", "2026-01-31 20:30:05 UTC-03"),
        ("Asia/Kathmandu", "2026-02-01 05:15:05 UTC+0545"),
    ],
)
def test_a_moment_names_its_zone(zone: str, text: str) -> None:
    assert moment_text(MOMENT, zone_of(zone)) == text


@pytest.mark.parametrize(
    ("path", "zone"),
    [("/usage", "Asia/Tokyo"), ("/admin/billing/priceversion/", "UTC"), ("/api/manage/v1", "UTC")],
)
def test_staff_and_programs_read_and_write_utc(path: str, zone: str) -> None:
    seen: list[Any] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(timezone.get_current_timezone_name())
        return HttpResponse()

    request = RequestFactory().get(path)
    request.COOKIES["zone"] = "Asia/Tokyo"
    ReaderZone(view)(request)
    assert seen == [zone]


@pytest.mark.django_db
def test_exports_are_in_utc(browser: Client, alices_account: CreditAccount) -> None:
    browser.cookies["zone"] = "Asia/Tokyo"
    postings.grant(alices_account, DOLLAR, reference="grant")
    transfer = Transfer.objects.get(customer=alices_account)
    at = f"{transfer.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    answer = browser.get("/statement.csv?by=transfer")
    assert at in b"".join(answer).decode()
    page = browser.get("/statement?by=transfer").content.decode()
    assert moment_text(transfer.created_at, zone_of("Asia/Tokyo")) in page


def test_the_zones_to_choose_from_begin_with_utc() -> None:
    assert zone_names()[0] == "UTC"
    assert "Europe/Prague" in zone_names()
    assert all(zone_of(name) for name in zone_names())
