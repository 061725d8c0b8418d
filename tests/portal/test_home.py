"""The home page: the service's own name, live prices, nothing from another host."""

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from api.models import Model, Service
from tests.cast import signed_in
from tests.portal.parsed_page import visible_text

pytestmark = pytest.mark.django_db


def test_models_are_shown_with_their_prices_in_two_queries(
    catalogue: Any, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    catalogue("weatmood")
    with django_assert_max_num_queries(3):
        page = client.get("/").content.decode()
    assert "<title>Weatmood" in page
    row = re.search(r"glm-5\.2</code>.*?</tr>", page[page.index('id="models"') :], re.S).group()
    assert re.findall(r'class="number">(.*?)<', row) == ["256,000", "$0.70", "$2.50"]
    assert "http://testserver/v1" in page


def test_the_first_request_names_the_readers_host_and_the_services_keys(
    catalogue: Any, client: Client
) -> None:
    catalogue("weatmood")
    page = client.get("/").content.decode()
    assert "http://testserver/v1/chat/completions" in page
    assert "weatmood-YOUR_KEY" in page
    assert "sk-tg-" not in page


def test_the_worked_cost_adds_up_at_the_prices_of_now(catalogue: Any, client: Client) -> None:
    catalogue("glm5")  # glm-5.2 at 2.50 and 7.50
    receipt = re.search(r'class="receipt">(.*?)</dl>', client.get("/").content.decode(), re.S)
    amounts = [
        int(amount.replace(".", "")) for amount in re.findall(r"<dd>\$(.*?)</dd>", receipt[1])
    ]
    held, *components, charged, returned = amounts
    assert components == [1_250_000, 7_500_000]  # 500 at 2.50 a million, 1,000 at 7.50
    assert charged == sum(components)
    assert held == charged + returned


def test_a_few_models_of_each_kind_lead_to_all_of_them(catalogue: Any, client: Client) -> None:
    catalogue("default")
    page = client.get("/").content.decode()
    rows = re.findall(r'<th scope="row"><code>(.*?)</code>', page)
    assert len(rows) == 9  # six of text, two for pictures, one for videos
    assert {"glm-5.2", "glm-image", "gpt-image-1", "cogvideox-3"} <= set(rows)
    assert f"Compare all {Model.objects.count()} models" in visible_text(page)
    assert 'href="/docs/models"' in page


def test_media_are_priced_by_the_piece(catalogue: Any, client: Client) -> None:
    catalogue("zai")
    page = client.get("/").content.decode()
    assert "$0.015 a image" not in page
    assert "$0.015 per image" in page
    assert "$0.20 per video" in page
    assert ">free<" in page


@pytest.mark.parametrize(
    ("kind", "path", "charged"),
    [("image", "/v1/images/generations", "$0.030000000"),
     ("video", "/v1/videos/generations", "$0.200000000")],
)  # fmt: skip
def test_a_service_of_media_alone_is_shown_by_what_it_makes(
    catalogue: Any, client: Client, kind: str, path: str, charged: str
) -> None:
    catalogue("zai")
    Model.objects.exclude(kind=kind).update(is_enabled=False)
    page = client.get("/").content.decode()
    assert f"http://testserver{path}" in page
    assert "chat/completions" not in page
    assert charged in page


@pytest.mark.parametrize("kind", ["embedding", "rerank", "speech"])
def test_a_service_of_other_models_has_no_example_that_costs_nothing(
    catalogue: Any, client: Client, kind: str
) -> None:
    catalogue("default")
    Model.objects.exclude(kind=kind).update(is_enabled=False)
    page = client.get("/")
    assert page.status_code == 200
    assert "$0.000000000" not in page.content.decode()


def test_an_empty_catalogue_says_so(client: Client) -> None:
    page = client.get("/").content.decode()
    assert "No models yet" in page
    assert "A first request" not in page


def test_names_are_shown_as_text(catalogue: Any, client: Client) -> None:
    catalogue("weatmood")
    Service.objects.update(name="<b>Mood</b>", tagline="<script>alert(1)</script>")
    Model.objects.filter(name="glm-5.2").update(title="<i>\u202egnp</i>")
    page = client.get("/").content.decode()
    assert "<b>Mood" not in page
    assert "<script>alert" not in page
    assert "<i>" not in page


def test_who_is_signed_in_is_led_to_the_dashboard(catalogue: Any, alice: Any) -> None:
    catalogue("weatmood")
    page = signed_in(alice).get("/").content.decode()
    assert "Open dashboard" in page
    assert "Get a key" not in page


def test_nothing_is_loaded_from_another_host(catalogue: Any, client: Client) -> None:
    catalogue("default")
    page = client.get("/").content.decode()
    # The canonical address names the page and loads nothing.
    sources = re.findall(r'(?:src|<link(?! rel="canonical")[^>]*href)="([^"]+)"', page)
    assert sources
    assert all(source.startswith("/static/") for source in sources)


def test_the_page_is_only_read(client: Client) -> None:
    assert client.post("/").status_code == 405


def test_robots_browsers_and_reporters_find_their_files(catalogue: Any, client: Client) -> None:
    assert client.get("/robots.txt").content.startswith(b"User-agent: *")
    assert client.get("/favicon.ico").url == "/static/icon.svg"
    assert client.get("/.well-known/security.txt").status_code == 404
    catalogue("weatmood")
    answer = client.get("/.well-known/security.txt").content.decode()
    assert answer.startswith("Contact: mailto:contact@weatmood.example\nExpires: 20")


def test_pages_name_the_links_to_load_ahead(catalogue: Any, client: Client, alice: Any) -> None:
    catalogue("weatmood")
    for browser, path in ((client, "/docs"), (signed_in(alice), "/usage")):
        answer = browser.get(path)
        rules = browser.get(answer["Speculation-Rules"].strip('"'))
        assert rules["Content-Type"] == "application/speculationrules+json"
        (rule,) = rules.json()["prefetch"]
        assert rule["eagerness"] == "moderate"
        assert "a.wide" in rule["where"]["selector_matches"]
    assert "Speculation-Rules" not in rules
