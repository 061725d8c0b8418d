"""The models: a list to search, filter and sort, and a page each."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from api.catalogue.snapshot import load_snapshot
from api.models import Model, ModelAlias, ModelFigures, ModelHealthHour
from billing.models import PriceVersion
from portal.ui.prices import price_list
from tests.cast import signed_in
from tests.portal.parsed_page import visible_text

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("default_catalogue")]

ODD_NAMES = [
    *("zai-org/GLM 4", "a/b/c", "/rooted", "ends/", "50%", "what?", "a#b", "a&b=c", "ü-模型"),
    *("<b>", "a\"b'c", "new", "search", "two\nlines", "a+b", "a;b", "%2e", "tab\there"),
]


def listed(client: Client, **query: str) -> dict[str, str]:
    """Return the text of each row by the name of its model, in the list's order."""
    answer = client.get("/docs/models", query)
    assert answer.status_code == 200
    names = {
        reverse("model", args=[name]): name for name in Model.objects.values_list("name", flat=True)
    }
    rows = re.findall(r"<tr>\s*<th scope=\"row\">.*?</tr>", answer.content.decode(), re.S)
    return {names[re.search(r'href="(.*?)"', row)[1]]: visible_text(row) for row in rows}  # type: ignore[index]


def page_of(client: Client, name: str) -> str:
    answer = client.get(reverse("model", args=[name]))
    assert answer.status_code == 200
    return answer.content.decode()


def figures(model: str, **values: Any) -> None:
    ModelFigures.objects.create(
        model=model, **{"teams": 3, "succeeded": 995, "failed": 5, **values}
    )


def test_every_model_is_listed_with_its_figures(client: Client) -> None:
    rows = listed(client)
    assert set(rows) == set(Model.objects.values_list("name", flat=True))
    assert rows["glm-5.2"].endswith("256,000 $0.70 $0.70 $2.50")
    assert rows["zai-org/GLM-4.7-FP8"].endswith("131,072 $0.475 $0.08 $2.00")
    assert rows["glm-image"].endswith("$0.015 per image")
    assert rows["cogvideox-3"].endswith("$0.20 per video")


def test_no_two_models_have_one_label(client: Client) -> None:
    Model.objects.filter(name__in=["glm-5.2", "glm-4.7"]).update(title="One Title")
    Model.objects.filter(name="kimi-k2").update(title="one-title")
    lines = price_list(load_snapshot())
    labels = {line.name: line.label for line in lines}
    assert len({label.casefold() for label in labels.values()}) == len(labels)
    assert labels["glm-5.2"] == "One Title (glm-5.2)"
    assert labels["kimi-k2"] == "one-title (kimi-k2)"
    assert labels["glm-image"] == Model.objects.get(name="glm-image").title


def test_a_service_without_models_says_so(client: Client) -> None:
    Model.objects.update(is_enabled=False)
    page = client.get("/docs/models").content.decode()
    assert "No models yet" in page
    assert "<table" not in page


@pytest.mark.parametrize(
    ("query", "here", "gone"),
    [
        ({"kind": "image"}, "glm-image", "glm-5.2"),
        ({"can": "image"}, "glm-4.7", "deepseek-r1"),
        ({"can": "coding"}, "glm-4.7", "glm-5.2"),
        ({"q": "ORG glm"}, "zai-org/GLM-4.7-FP8", "glm-5.2"),
        ({"q": "glm", "kind": "video"}, "cogvideox-3", "glm-5.2"),
        ({"kind": "nonsense", "can": "<script>", "sort": "nothing"}, "glm-image", ""),
    ],
)
def test_it_is_searched_and_filtered(
    client: Client, query: dict[str, str], here: str, gone: str
) -> None:
    Model.objects.filter(name="cogvideox-3").update(description="Of the GLM family.")
    rows = listed(client, **query)
    assert here in rows
    assert gone not in rows


def test_what_matches_nothing_leads_back_to_all(client: Client) -> None:
    page = client.get("/docs/models", {"q": "no such\0 thing"}).content.decode()
    assert "No matching models" in page
    assert 'value="no such thing"' in page


def test_it_is_sorted_both_ways_with_what_has_no_such_figure_last(client: Client) -> None:
    figures("glm-5.2", succeeded=900, failed=100, streamed_tokens=100, streamed_ms=1000)
    figures("glm-4.7", succeeded=1000, failed=0, streamed_tokens=90, streamed_ms=1000)
    assert list(listed(client, sort="uptime"))[:2] == ["glm-4.7", "glm-5.2"]
    assert list(listed(client, sort="-uptime"))[:2] == ["glm-5.2", "glm-4.7"]
    assert list(listed(client, sort="speed"))[:2] == ["glm-5.2", "glm-4.7"]
    cheapest = list(listed(client, sort="input"))
    assert "free" in listed(client)[cheapest[0]]
    media = {"glm-image", "cogvideox-3", "tts-1"}
    for sort in ("input", "-input", "output", "context"):
        names = list(listed(client, sort=sort))
        assert media.isdisjoint(names[:30]), sort
    names = list(listed(client, sort="name"))
    assert list(listed(client, sort="-name")) == names[::-1]


def test_headings_keep_the_filter_and_say_the_order(client: Client) -> None:
    page = client.get(
        "/docs/models", {"kind": "chat", "q": "glm", "sort": "input"}
    ).content.decode()
    assert (
        'aria-sort="ascending"><a href="/docs/models?q=glm&amp;kind=chat&amp;sort=-input">' in page
    )
    assert page.count("aria-sort") == 1


def test_a_page_has_price_limits_snippet_and_previews(client: Client) -> None:
    page = page_of(client, "glm-5.2")
    text = visible_text(page)
    assert "Input tokens $0.70 per million" in text
    assert "Context 256,000 tokens" in text
    assert "http://testserver/v1/chat/completions" in page
    assert "sk-tg-YOUR_KEY" in page
    assert '<link rel="canonical" href="http://testserver/docs/models/glm-5.2">' in page
    for name in ("og:title", "og:description", "og:url", "og:image"):
        assert f'property="{name}"' in page


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("glm-image", "/v1/images/generations"),
        ("cogvideox-3", "/v1/videos/generations"),
        ("text-embedding-3-small", "/v1/embeddings"),
        ("rerank-v3.5", "/v1/rerank"),
        ("tts-1", "/v1/audio/speech"),
        ("whisper-1", "/v1/audio/transcriptions"),
        ("omni-moderation-latest", "/v1/moderations"),
    ],
)
def test_each_kind_has_a_snippet_of_its_endpoint(client: Client, name: str, path: str) -> None:
    page = page_of(client, name)
    assert f"http://testserver{path}" in page
    assert page.count(f"&quot;{name}&quot;") + page.count(f"model={name}") >= 1


def test_every_model_has_a_page_in_few_queries(
    client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    names = list(Model.objects.values_list("name", flat=True))
    with django_assert_max_num_queries(4 * len(names)):
        for name in names:
            page_of(client, name)
    with django_assert_max_num_queries(4):
        listed_answer = client.get("/docs/models")
    assert listed_answer.status_code == 200


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_has_an_address(client: Client, name: str) -> None:
    Model.objects.filter(name="glm-5.2").update(name=name, title="")
    page = client.get("/docs/models").content.decode()
    url = reverse("model", args=[name])
    assert f'href="{url}"' in page.replace("&amp;", "&").replace("&#x27;", "'")
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.context["page"].model.name == name


def test_an_alias_leads_to_its_model(client: Client) -> None:
    ModelAlias.objects.create(name="other/name", model=Model.objects.get(name="glm-5.2"))
    assert client.get("/docs/models/other/name").url == "/docs/models/glm-5.2"


@pytest.mark.parametrize("is_signed_in", [True, False])
def test_what_is_not_sold_is_a_404_in_the_shell(
    client: Client, alice: User, is_signed_in: bool
) -> None:
    browser = signed_in(alice) if is_signed_in else client
    Model.objects.filter(name="glm-4.7").update(is_enabled=False)
    PriceVersion.objects.filter(product__model__name="glm-image").update(
        effective_from=timezone.now() + timedelta(days=1)
    )
    for name in ("glm-4.7", "glm-image", "nothing", "%00", "%ff", "a/../b"):
        answer = browser.get(f"/docs/models/{name}")
        assert answer.status_code == 404, name
        assert ('class="rail"' in answer.content.decode()) is is_signed_in
    sitemap = client.get("/sitemap.xml").content.decode()
    assert "/docs/models/glm-4.7<" not in sitemap
    assert "/docs/models/glm-image<" not in sitemap


def test_changes_of_price_are_dated_and_secret_ones_are_not_shown(client: Client) -> None:
    first = PriceVersion.objects.get(product__model__name="glm-5.2")
    PriceVersion.objects.filter(pk=first.pk).update(
        effective_from=timezone.now() - timedelta(days=90)
    )
    later = {"product": first.product, "output_nanos_per_million": 2_500_000_000}
    for days, cents, announces in ((-30, 80, False), (30, 90, True), (60, 1234, False)):
        PriceVersion.objects.create(
            effective_from=timezone.now() + timedelta(days=days),
            input_nanos_per_million=cents * 10_000_000,
            announces=announces,
            **later,
        )
    page = page_of(client, "glm-5.2")
    changes = re.findall(r"<li><div class=\"row\">(.*?)</li>", page, re.S)
    texts = [visible_text(change) for change in changes]
    assert len(texts) == 3
    assert "Announced" in texts[0]
    assert "input tokens $0.80 → $0.90".casefold() in texts[0].casefold()
    assert "Announced" not in texts[1]
    assert "$0.70 → $0.80" in texts[1]
    assert f"{timezone.now() - timedelta(days=30):%Y-%m-%d}" in texts[1]
    assert texts[2].endswith("First price")
    assert "12.34" not in page


def test_measured_figures_are_shown_from_enough_requests_and_teams_on(client: Client) -> None:
    ModelHealthHour.objects.create(
        model="glm-5.2",
        hour=timezone.now() - timedelta(hours=1),
        succeeded=995,
        failed=5,
        first_token_ms_total=995 * 420,
        first_token_count=995,
        latency_ms_total=995 * 1000,
    )
    figures("glm-5.2", teams=2, streamed_tokens=4_000, streamed_ms=100_000)
    hidden = visible_text(page_of(client, "glm-5.2"))
    assert "Not enough requests yet" in hidden
    assert "99.50%" not in hidden + listed(client)["glm-5.2"]
    ModelFigures.objects.update(teams=3, first_token_ms_total=995 * 420, first_token_count=995)
    shown = visible_text(page_of(client, "glm-5.2"))
    assert "Uptime 99.50%" in shown
    assert "First token 0.42 s" in shown
    assert "Speed 40 tokens per second" in shown
    assert "Not enough requests yet" not in shown
    assert listed(client)["glm-5.2"].endswith("0.42 s 40 tokens/s 99.50%")


def test_status_usage_docs_and_the_sitemap_lead_there(client: Client, alice: User) -> None:
    link = 'href="/docs/models/glm-5.2"'
    assert link in client.get("/status").content.decode()
    assert link in client.get("/docs/tools").content.decode()
    sitemap = client.get("/sitemap.xml").content.decode()
    assert "<loc>http://testserver/docs/models/glm-5.2</loc>" in sitemap
    assert "<loc>http://testserver/docs/models/zai-org/GLM-4.7-FP8</loc>" in sitemap


def test_the_rail_marks_models_alone(alice: User) -> None:
    for path in ("/docs/models", "/docs/models/glm-5.2"):
        page = signed_in(alice).get(path).content.decode()
        assert re.findall(r'<a href="([^"]+)" aria-current="page"', page) == ["/docs/models"]
