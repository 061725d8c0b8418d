"""Maintenance mode for the pages: customers see the text; staff and Stripe pass."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from api import maintenance
from api.maintenance import Maintenance
from api.models import MaintenanceMode
from tests.cast import signed_in

pytestmark = pytest.mark.django_db

ENDS_AT = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=30)


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service is under maintenance for half an hour."""
    mode = Maintenance(is_on=True, text="We move to <b>larger</b> disks.", ends_at=ENDS_AT)
    monkeypatch.setattr(maintenance, "current", mode)


@pytest.mark.parametrize("path", ["/", "/dashboard", "/docs", "/accounts/signup/", "/nothing"])
def test_pages_show_the_text_and_when_it_ends(alice: User, path: str) -> None:
    for client in (Client(), signed_in(alice)):
        answer = client.get(path)
        assert answer.status_code == 503
        left_seconds = (ENDS_AT - datetime.now(UTC)).total_seconds()
        assert abs(int(answer["Retry-After"]) - left_seconds) < 60
        assert answer["Cache-Control"].startswith("no-store")
        page = answer.content.decode()
        assert "We move to &lt;b&gt;larger&lt;/b&gt; disks." in page
        assert f"{ENDS_AT:%Y-%m-%d %H:%M} UTC" in page


def test_the_management_api_answers_in_its_form(client: Client) -> None:
    answer = client.get("/api/manage/v1/keys")
    assert answer.status_code == 503
    assert answer["Retry-After"]
    assert answer.json()["error"]["code"] == "service_unavailable"


def test_staff_sign_in_and_see_everything(client: Client, staff: Client) -> None:
    assert client.get(reverse("account_login")).status_code == 200
    assert staff.get("/").status_code == 200
    assert staff.get("/admin/").status_code == 200


def test_stripes_webhooks_are_accepted(client: Client) -> None:
    answer = client.post("/webhooks/stripe", b"{}", content_type="application/json")
    assert answer.status_code != 503


def test_the_status_page_shows_it(client: Client) -> None:
    page = client.get("/status").content.decode()
    assert "Under maintenance, expected to end by" in page
    assert "disks." in page
    assert "All systems operational" not in page


def test_staff_switch_it_on_and_off(staff: Client) -> None:
    url = "/admin/api/maintenancemode/1/change/"
    form = {"is_on": "on", "text": "Disks", "ends_at_0": "2030-01-01", "ends_at_1": "10:00"}
    assert staff.post(url, form).status_code == 302
    row = MaintenanceMode.objects.get()
    assert (row.is_on, row.text) == (True, "Disks")
    assert row.ends_at == datetime(2030, 1, 1, 10, tzinfo=UTC)
    assert staff.post(url, {"text": ""}).status_code == 302
    assert not MaintenanceMode.objects.get().is_on
