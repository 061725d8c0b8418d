"""Terms and privacy: readable by anyone, accepted at sign-up with version and time."""

from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from accounts import teams
from accounts.models import User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/legal/terms", "/legal/privacy"])
def test_each_document_says_its_version(client: Client, settings: Any, path: str) -> None:
    settings.TERMS_VERSION = "2031-02-03"
    page = client.get(path).content.decode()
    assert "Version 2031-02-03" in page
    assert 'href="/legal/terms"' in page
    assert 'href="/legal/privacy"' in page


def test_a_sign_up_accepts_the_version_that_the_form_links_to(
    client: Client, settings: Any
) -> None:
    settings.TERMS_VERSION = "2031-02-03"
    form = client.get("/accounts/signup/").content.decode()
    assert 'you agree to the <a href="/legal/terms">' in form
    began = timezone.now()
    client.post(
        "/accounts/signup/", {"email": "new@example.com", "password1": "correct horse battery"}
    )
    user = User.objects.get(email="new@example.com")
    assert user.terms_version == "2031-02-03"
    assert user.terms_accepted_at is not None
    assert began <= user.terms_accepted_at <= timezone.now()


def test_who_was_created_by_staff_has_accepted_nothing() -> None:
    user, _ = teams.sign_up("made@example.com", "correct horse battery")
    assert (user.terms_version, user.terms_accepted_at) == ("", None)


def test_the_privacy_policy_names_every_cookie_that_pages_set(client: Client) -> None:
    client.get("/accounts/signup/")
    client.get("/")
    assert set(client.cookies) <= {"csrftoken", "sessionid", "messages", "zone"}
    page = client.get("/legal/privacy").content.decode()
    assert "no tracking cookies" in page


def test_search_engines_find_the_public_pages(client: Client) -> None:
    assert "Sitemap: http://testserver/sitemap.xml" in client.get("/robots.txt").content.decode()
    answer = client.get("/sitemap.xml")
    assert answer["Content-Type"] == "application/xml"
    for path in ("/", "/docs", "/docs/models", "/status", "/legal/terms"):
        assert f"<loc>http://testserver{path}</loc>" in answer.content.decode()
    home = client.get("/?utm_source=x").content.decode()
    assert '<link rel="canonical" href="http://testserver/">' in home
    assert '<meta property="og:image" content="http://testserver/static/og.png">' in home
    assert finders.find("og.png"), "the picture is missing"
    assert finders.find("icon-180.png"), "the icon is missing"
