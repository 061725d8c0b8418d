"""Saved filters and hidden columns of the usage page: a member's own, in each team."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts.models import Team, User
from accounts.teams import personal_team
from portal.models import UsagePreference
from portal.usage.preferences import MOST_FILTERS
from tests.cast import signed_in
from tests.portal.test_profile_export import opened

pytestmark = pytest.mark.django_db


def kept(browser: Client) -> dict[str, str]:
    """Return the saved filters that the page shows: names with queries."""
    return dict(browser.get("/usage").context["view"].filters)


def save(browser: Client, name: str, query: str = "status=error") -> Any:
    return browser.post("/usage/filters", {"name": name, "query": query}, follow=True)


def test_a_filter_is_kept_replaced_and_deleted(browser: Client) -> None:
    page = save(browser, "Errors", "period=7d&status=error&model=&before=1&csrf=x")
    assert page.redirect_chain[0][0] == "/usage?period=7d&status=error"
    save(browser, "Errors", "status=ok")
    save(browser, "All", "")
    assert kept(browser) == {"Errors": "status=ok", "All": ""}
    browser.post("/usage/filters", {"delete": "Errors", "query": "period=7d"})
    assert kept(browser) == {"All": ""}


def test_a_name_that_cannot_be_is_refused_with_the_reason(browser: Client) -> None:
    for name in ("", "  ", "x" * 61, "a\0b"):
        assert 'class="alert bad"' in save(browser, name).content.decode(), name
    assert not UsagePreference.objects.exists()


def test_there_are_not_more_than_a_menu_takes(browser: Client) -> None:
    for number in range(MOST_FILTERS):
        save(browser, f"filter {number}")
    assert "Delete one first" in save(browser, "one more").content.decode()
    save(browser, "filter 3", "status=ok")
    assert len(kept(browser)) == MOST_FILTERS
    assert kept(browser)["filter 3"] == "status=ok"


def test_columns_stay_hidden(browser: Client) -> None:
    assert browser.post("/usage/columns", {"column": ["key", "out", "no such"]}).status_code == 204
    assert browser.get("/usage").context["view"].hidden == ["in", "cached", "latency"]
    assert kept(browser) == {}


def test_they_are_the_members_own_in_this_team(
    browser: Client, alice: User, bob: User, alices_team: Team
) -> None:
    other = signed_in(bob)
    other.post("/team/switch", {"team": alices_team.slug})
    save(browser, "Mine")
    assert kept(other) == {}
    save(other, "His")
    assert kept(browser) == {"Mine": "status=error"}
    browser.post("/usage/filters", {"delete": "His"})
    assert kept(other) == {"His": "status=error"}
    other.post("/team/switch", {"team": personal_team(bob).slug})
    assert kept(other) == {}

    (exported,) = json.loads(opened(alice)["profile.json"])["usage_page"]
    assert exported["filters"] == [{"name": "Mine", "query": "status=error"}]
    other.post("/settings/delete", {"proof": "bobs secret"})
    assert UsagePreference.objects.get().user == alice
