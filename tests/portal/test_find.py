"""The search dialog finds pages, keys, models and requests of the reader's team, and no others."""

import re

import pytest
from django.test import Client

from accounts.models import ApiKey, Team, User
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, signed_in
from tests.portal.keys_pages import load_catalogue
from tests.portal.serving import serve

pytestmark = pytest.mark.django_db


def found(browser: Client, query: str) -> list[str]:
    page = browser.get("/find", {"q": query}).content.decode()
    return re.findall(r'<a href="([^"]+)"', page)


def test_a_request_is_found_by_its_id_however_it_is_written(
    browser: Client, customer: Customer
) -> None:
    record = serve(customer, output_nanos=5)
    url = f"/usage/requests/{record.request_id}"
    for text in (str(record.request_id), record.request_id.hex, f" chat-{record.request_id.hex} "):
        assert found(browser, text) == [url]


def test_another_teams_request_is_not_found(
    customer: Customer, charlie: User, charlies_team: Team
) -> None:
    record = serve(customer, output_nanos=5)
    assert found(signed_in(charlie), str(record.request_id)) == []


def test_keys_are_found_by_name_and_end(
    browser: Client, alices_key: IssuedKey, charlies_team: Team
) -> None:
    key = ApiKey.objects.get()
    url = f"/settings/apikeys/{key.pk}"
    ApiKey.objects.filter(pk=key.pk).update(name="Nightly %_ report")
    for text in ("nightly", "%_", f"sk-tg-…{key.last_four}"):
        assert url in found(browser, text)
    assert url not in found(browser, "x%")


def test_pages_and_models_are_found_by_name(
    browser: Client, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalogue(monkeypatch)
    assert "/statement" in found(browser, "statem")
    assert "/settings/notifications" in found(browser, "notif")
    assert "/docs/models/glm-5.2" in found(browser, "GLM-5")
    assert "/dashboard" in found(browser, "")


def test_a_role_finds_only_pages_it_may_open(bob: User, alices_team: Team) -> None:
    browser = signed_in(bob)
    browser.post("/team/switch", {"team": alices_team.slug})
    assert "/statement" not in found(browser, "statement")
    assert "/billing" not in found(browser, "billing")


@pytest.mark.parametrize("query", ["nothing like that", "x\x00y", "<script>", "x" * 5000])
def test_what_is_not_there_is_no_error(browser: Client, alices_team: Team, query: str) -> None:
    answer = browser.get("/find", {"q": query})
    assert answer.status_code == 200
    assert "No pages, keys, models or requests found." in answer.content.decode()
