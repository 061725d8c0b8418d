"""The chat page and the playground: who may open them, what they start with."""

import json
import re
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Membership, Role, Team, User
from billing.models import CreditAccount
from tests.cast import signed_in
from tests.portal.chat_pages import made, store

pytestmark = pytest.mark.django_db
PAGES = ["/chat", "/playground"]


@pytest.fixture
def zai_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9")
    call_command("load_catalogue", "zai", "--replace", verbosity=0)


def data_of(page: str) -> Any:
    found = re.search(r'<script id="\w+-data" type="application/json">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found.group(1))


@pytest.mark.parametrize("url", PAGES)
def test_the_signed_out_are_asked_to_sign_in(client: Client, url: str) -> None:
    answer = client.get(url)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("url", PAGES)
def test_a_billing_member_is_told_why_not(url: str, bob: User, alices_team: Team) -> None:
    Membership.objects.filter(user=bob, team=alices_team).update(role=Role.BILLING)
    browser = signed_in(bob)
    session = browser.session
    session["team"] = alices_team.slug
    session.save()
    answer = browser.get(url)
    assert answer.status_code == 403
    assert "Your role can’t call models" in answer.content.decode()


@pytest.mark.parametrize("url", PAGES)
def test_a_page_takes_at_most_fifteen_queries(
    url: str,
    alice: User,
    alices_account: CreditAccount,
    zai_catalogue: None,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    browser = signed_in(alice)
    store(browser)
    for number in range(5):
        made(browser, f"Conversation {number}")
    with django_assert_max_num_queries(15):
        assert browser.get(url).status_code == 200


def test_chat_offers_the_chat_models_with_their_prices(
    alice: User, alices_account: CreditAccount, zai_catalogue: None
) -> None:
    page = signed_in(alice).get("/chat").content.decode()
    models = data_of(page)["models"]
    assert models
    assert not {"glm-image", "cogvideox-3"} & {model["name"] for model in models}
    assert all(model["input_price"] and model["output_price"] for model in models)


def test_the_playground_knows_models_of_every_kind(
    alice: User, alices_account: CreditAccount, zai_catalogue: None
) -> None:
    page = signed_in(alice).get("/playground").content.decode()
    assert {model["kind"] for model in data_of(page)["models"]} == {"chat", "image", "video"}


@pytest.mark.parametrize("url", PAGES)
def test_no_page_carries_a_key(url: str, alice: User, alices_account: CreditAccount) -> None:
    page = signed_in(alice).get(url).content.decode()
    assert "sk-tg-" not in page
    assert alice.teams.get().api_keys.count() == 0


def test_titles_can_not_break_out_of_the_page(alice: User, alices_account: CreditAccount) -> None:
    browser = signed_in(alice)
    store(browser)
    title = "</script><script>alert(1)</script>"
    conversation = made(browser, title)
    page = browser.get(f"/chat/{conversation.id}").content.decode()
    assert "<script>alert(1)" not in page
    data = data_of(page)
    assert data["conversations"][0]["title"] == title
    assert data["opened"] == str(conversation.id)


def test_an_empty_catalogue_says_so(alice: User, alices_account: CreditAccount) -> None:
    assert "No chat models available" in signed_in(alice).get("/chat").content.decode()
