"""The member's shell stays on pages that anyone may read; visitors see their own."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import Team, User
from tests.cast import signed_in

pytestmark = pytest.mark.django_db
PATHS = ("/docs", "/docs/errors", "/docs/models", "/status", "/legal/terms", "/nowhere")


@pytest.mark.parametrize("path", PATHS)
def test_members_keep_their_shell(browser: Client, alices_team: Team, path: str) -> None:
    page = browser.get(path).content.decode()
    assert 'id="rail"' in page
    assert 'class="top"' not in page
    assert page.count("<main") == 1


@pytest.mark.parametrize("path", PATHS)
def test_visitors_see_the_public_shell(client: Client, path: str) -> None:
    page = client.get(path).content.decode()
    assert 'id="rail"' not in page
    assert 'class="top"' in page


def test_pages_describe_themselves(catalogue: Any, browser: Client) -> None:
    catalogue("default")
    for path in ("/", "/docs", "/docs/models", "/dashboard", "/usage", "/billing"):
        assert browser.get(path).content.decode().count('<meta name="description"') == 1, path


def test_a_page_that_a_role_may_not_see_keeps_the_shell(bob: User, alices_team: Team) -> None:
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    answer = browser.get("/statement")
    assert answer.status_code == 403
    assert 'id="rail"' in answer.content.decode()


def test_a_user_without_a_team_sees_the_public_shell(db: None) -> None:
    user = User.objects.create_user("alone@example.com", "correct horse battery")
    assert 'class="top"' in signed_in(user).get("/docs").content.decode()


def test_the_home_page_is_for_visitors(browser: Client, alices_team: Team) -> None:
    page = browser.get("/").content.decode()
    assert 'class="top"' in page
    assert 'id="rail"' not in page
