"""Staff see the portal as a customer does: everything of the team, and nothing changes."""

import time
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditEntry, Team, User
from portal import access
from tests.cast import signed_in
from tests.portal.filled import Filled, fill
from tests.portal.keys_pages import load_catalogue
from tests.portal.url_map import PAGES, address

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous"),
]

BANNER = "as the customer sees it"


@pytest.fixture
def filled(alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """Alice's team with some of everything."""
    load_catalogue(monkeypatch)
    return fill(alice, alices_team, "Acme")


@pytest.fixture
def viewer(staff: Client, filled: Filled) -> Client:
    """A member of staff who views Alice's portal."""
    url = f"/admin/customers/{filled.team.pk}/view-as"
    answer = staff.post(url, {"reason": "Ticket 17: can't see the chart"})
    assert answer["Location"] == "/dashboard"
    return staff


def test_the_portal_is_the_customers_under_a_banner(viewer: Client, filled: Filled) -> None:
    for path in ("/dashboard", "/usage", "/settings/apikeys", "/billing", "/team", "/statement"):
        page = viewer.get(path)
        assert page.status_code == 200, path
        assert BANNER in page.content.decode(), path
    page = viewer.get(f"/usage/requests/{filled.record.pk}").content.decode()
    assert str(filled.record.pk) in page
    assert BANNER in page


def test_it_is_in_the_teams_own_audit_log(viewer: Client, filled: Filled, alice: User) -> None:
    entry = AuditEntry.objects.filter(team=filled.team).latest("pk")
    assert entry.action == "team.viewed"
    assert entry.detail == {"reason": "Ticket 17: can't see the chart"}
    log = signed_in(alice).get("/team/audit").content.decode()
    assert "Portal viewed by staff" in log


def test_nothing_can_be_changed(viewer: Client, filled: Filled) -> None:
    entries = AuditEntry.objects.count()
    wrong = []
    for name, page in PAGES.items():
        is_members = page.owner != page.stranger and page.nobody == 403
        for method in set(page.methods.split()) - {"GET"} if is_members else ():
            answer = viewer.generic(method, address(name, filled.arguments))
            if answer.status_code != 403:
                wrong.append(f"{method} {name}: {answer.status_code}")
    assert wrong == []
    assert AuditEntry.objects.count() == entries


def test_the_pages_of_the_person_who_is_signed_in_are_not_shown(viewer: Client) -> None:
    for path in ("/settings", "/settings/notifications", "/settings/data", "/settings/delete"):
        assert viewer.get(path).status_code == 403, path


def test_it_ends_where_it_began(viewer: Client, filled: Filled) -> None:
    assert viewer.get("/admin/view-as/end").status_code == 405
    answer = viewer.post("/admin/view-as/end")
    assert answer["Location"] == f"/admin/customers/{filled.team.pk}"
    assert viewer.get("/dashboard").status_code == 403  # staff of no team
    assert viewer.post("/admin/view-as/end")["Location"] == "/admin/"


def test_it_ends_by_itself(viewer: Client, filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    later = time.time() + access.VIEW_AS_SECONDS + 1
    monkeypatch.setattr(access.time, "time", lambda: later)
    assert viewer.get("/dashboard").status_code == 403


@pytest.mark.parametrize("lost", ["is_staff", "is_superuser"])
def test_it_ends_with_the_permission(viewer: Client, lost: str) -> None:
    User.objects.filter(email="staff@example.com").update(**{lost: False})
    assert viewer.get("/dashboard").status_code == 403


def test_a_customer_who_writes_it_into_a_session_gains_nothing(
    filled: Filled, charlie: User
) -> None:
    browser = signed_in(charlie)
    session: Any = browser.session
    session[access.VIEW_AS_SESSION_KEY] = {"team": filled.team.pk, "until": time.time() + 60}
    session.save()
    page = browser.get("/dashboard").content.decode()
    assert BANNER not in page
    assert "Acme" not in page
    assert browser.get(f"/usage/requests/{filled.record.pk}").status_code == 404
