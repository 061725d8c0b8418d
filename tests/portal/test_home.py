"""The home page: the service's own name, live prices, nothing from another host."""

import re
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9")
    return lambda name: call_command("load_catalogue", name, "--replace", verbosity=0)


def test_models_are_shown_with_their_prices_in_two_queries(
    catalogue: Any, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    catalogue("weatmood")
    with django_assert_num_queries(2):
        page = client.get("/").content.decode()
    assert "<title>Weatmood" in page
    row = re.search(r"glm-5\.2</code>.*?</tr>", page, re.S).group()
    assert re.findall(r'class="number">(.*?)<', row) == ["256,000", "$0.70", "$2.50"]
    assert "http://testserver/v1" in page


def test_media_are_priced_by_the_piece(catalogue: Any, client: Client) -> None:
    catalogue("zai")
    page = client.get("/").content.decode()
    assert "$0.015 a image" not in page
    assert "$0.015 an image" in page
    assert "$0.20 a video" in page
    assert ">free<" in page


def test_an_empty_catalogue_says_so(client: Client) -> None:
    assert "No models yet" in client.get("/").content.decode()


def test_nothing_is_loaded_from_another_host(catalogue: Any, client: Client) -> None:
    catalogue("default")
    page = client.get("/").content.decode()
    sources = re.findall(r'(?:src|<link[^>]*href)="([^"]+)"', page)
    assert sources
    assert all(source.startswith("/static/") for source in sources)


def test_the_page_is_only_read(client: Client) -> None:
    assert client.post("/").status_code == 405
