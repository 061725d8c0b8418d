"""The documentation: every page renders for every service, and its tables are what runs."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import Plan
from api import errors
from api.models import Model, Service
from api.surfaces import SURFACES
from portal.docs.pages import pages
from portal.docs.reader import ANY_MODEL
from portal.docs.sections import sections
from portal.templatetags.docs import with_code
from tests.cast import IssuedKey, issue, signed_in
from tests.portal.parsed_page import visible_text

pytestmark = pytest.mark.django_db
URLS = [page.slug for page in pages()[1:]]
WITHOUT_EXAMPLES = {"caching", "rate-limits", "pricing"}


def read(client: Client, slug: str, **query: str) -> str:
    answer = client.get(f"/docs/{slug}" if slug else "/docs", query)
    assert answer.status_code == 200, slug
    return answer.content.decode()


@pytest.mark.parametrize("name", ["default", "weatmood", "zai", "weryai", "answira", "glm5"])
def test_every_page_of_every_service_has_its_words_and_its_host(
    catalogue: Any, client: Client, name: str
) -> None:
    catalogue(name)
    prefix = Service.objects.get().key_prefix
    for slug in ["", *URLS]:
        page = read(client, slug)
        assert "http://testserver" in page or slug in {*WITHOUT_EXAMPLES, "webhooks"}, slug
        assert not re.search(r"\{[{%]|127\.0\.0\.1|localhost", page), slug
        for other in {"weatmood-", "sk-tg-", "sk-glm5-"} - {prefix}:
            assert f"{other}YOUR" not in page, slug
        anchors = re.findall(r'<h2 id="(.*?)"', page)
        assert len(anchors) == len(set(anchors)), slug
        links = re.findall(r'<a href="#(.*?)"', page)
        assert set(links) - {"main"} <= set(anchors), slug


def test_links_within_the_documentation_lead_somewhere(catalogue: Any, client: Client) -> None:
    catalogue("default")
    texts = {page.url: client.get(page.url).content.decode() for page in pages()}
    for url, html in texts.items():
        links = re.findall(r'href="(/docs[^"#?]*)[^"#]*(#[^"]*)?"', html)
        assert set(texts) <= {path for path, _ in links}, f"{url}: the menu leads everywhere"
        for path, anchor in links:
            is_page = path in texts or path == "/docs/search"
            assert is_page or client.get(path).status_code == 200, path
            if anchor:
                assert f'id="{anchor[1:]}"' in texts[path], path + anchor


def test_an_empty_catalogue_is_told_and_breaks_no_page(client: Client) -> None:
    for slug in ["", *URLS]:
        assert "No catalogue is loaded yet" in read(client, slug)
    assert ANY_MODEL in read(client, "")


def test_the_first_page_has_one_address(client: Client) -> None:
    assert client.get("/docs/quick-start").url == "/docs"
    assert client.get("/docs/no-such-page").status_code == 404
    assert client.post("/docs").status_code == 405


def test_pages_take_few_queries(
    catalogue: Any,
    alices_key: IssuedKey,
    alice: Any,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    catalogue("default")
    browser = signed_in(alice)
    for slug in ("", "model-list", "rate-limits"):
        with django_assert_max_num_queries(8):
            read(browser, slug)


def test_each_endpoint_runs_in_the_playground_on_the_readers_key(
    catalogue: Any, client: Client, alice: Any
) -> None:
    catalogue("default")
    member = signed_in(alice)
    document = client.get("/openapi.json").json()
    ways = [way for path in document["paths"].values() for way in path.values()]
    known = {way["operationId"] for way in ways if isinstance(way, dict)}
    endpoints = [page for page in pages() if page.operation is not None]
    assert len(endpoints) > 10
    for page in endpoints:
        (run,) = re.findall(r'href="/playground#(\w+)"', member.get(page.url).content.decode())
        assert run in known
        assert "/playground#" not in client.get(page.url).content.decode()


def test_every_error_of_the_tree_is_in_the_table(client: Client) -> None:
    def tree(error: type[errors.ApiError]) -> list[type[errors.ApiError]]:
        return [error, *(each for child in error.__subclasses__() for each in tree(child))]

    rows = {
        tuple(re.findall(r">([^<>]+)<", row)[:1] + re.findall(r"<code>(.*?)</code>", row))
        for row in re.findall(r"<tr>.*?</tr>", read(client, "errors"), re.S)
    }
    shown = {(status[0], status[1]) for status in rows if len(status) == 2}
    ours = {error for error in tree(errors.ApiError) if error.__module__.startswith("api.")}
    assert {(str(error.status), error.code) for error in ours} <= shown


def test_every_address_is_in_the_table(client: Client) -> None:
    page = read(client, "endpoints")
    for surface in SURFACES:
        assert f"<code>http://testserver{surface.mount}</code>" in page


@pytest.mark.parametrize(
    ("slug", "fields"),
    [
        ("chat-completions", {"messages", "max_tokens", "tools", "thinking", "plugins"}),
        ("completions", {"prompt", "best_of", "echo"}),
        ("images", {"prompt", "size", "n"}),
        ("videos", {"image_url", "fps", "with_audio", "duration"}),
    ],
)
def test_parameters_are_the_validating_structs(client: Client, slug: str, fields: set[str]) -> None:
    page = read(client, slug)
    named = set(re.findall(r'<th scope="row"><code>(.*?)</code>', page))
    assert fields <= named
    assert "number, 0 to 2" in page or slug in {"images", "videos"}


def test_the_worked_cost_is_the_documented_one(catalogue: Any, client: Client) -> None:
    catalogue("weatmood")  # its own document: 500 in, 1,000 out on glm-5.2 cost $0.00285
    Model.objects.exclude(name="glm-5.2").update(is_enabled=False)
    assert "Charged $0.002850000" in visible_text(read(client, "pricing"))


def test_cached_input_is_worked_out_at_its_own_price(catalogue: Any, client: Client) -> None:
    catalogue("answira")
    page = visible_text(read(client, "caching"))
    assert re.search(r"300 input tokens . \$0\.475 / million \$0\.000142500", page)
    assert re.search(r"200 cached input tokens . \$0\.08 / million \$0\.000016000", page)


def test_limits_are_the_default_plans_for_strangers(client: Client) -> None:
    Plan.objects.filter(is_default=True).update(title="Start", requests_per_minute=61)
    page = visible_text(read(client, "rate-limits"))
    assert "New teams start on the plan Start" in page
    assert "61 requests" in page


def test_limits_are_the_readers_own_plans(alice: Any, alices_team: Any) -> None:
    alices_team.plan = Plan.objects.create(name="big", title="Big", requests_per_minute=4321)
    alices_team.save()
    page = visible_text(read(signed_in(alice), "rate-limits"))
    assert "is on the plan Big" in page
    assert "4,321 requests" in page


def test_examples_name_the_readers_key_and_never_its_secret(
    catalogue: Any, alice: Any, alices_key: IssuedKey, bobs_key: IssuedKey
) -> None:
    catalogue("default")
    for slug in ["", *URLS]:
        page = read(signed_in(alice), slug)
        assert alices_key.plaintext not in page
        # The page's source has random tokens, which may have any three letters.
        assert "Bob" not in visible_text(page)
    assert "sk-tg-YOUR_KEY_Alice_s_key" in read(signed_in(alice), "")


def test_examples_name_no_key_that_was_approved_for_a_program(
    catalogue: Any, alice: Any, alices_key: IssuedKey
) -> None:
    catalogue("default")
    issue(alices_key.key.team, alice, "Her agent", source="Claude Code")
    assert "sk-tg-YOUR_KEY_Alice_s_key" in read(signed_in(alice), "")


def test_a_keys_name_puts_no_code_into_an_example(
    catalogue: Any, alice: Any, alices_key: IssuedKey
) -> None:
    catalogue("default")
    alices_key.key.name = "'; rm -rf ~ #<script>\u202e\"$(x)"
    alices_key.key.save()
    page = read(signed_in(alice), "")
    assert "sk-tg-YOUR_KEY_rm_rf_script_x" in page
    code = "".join(re.findall(r"<pre.*?</pre>", page, re.S))
    assert "rm -rf" not in unescape(code)
    assert "<script>\u202e" not in page


def test_names_in_examples_are_text(catalogue: Any, client: Client) -> None:
    catalogue("weatmood")
    name = "</code><script>alert(1)</script>"
    Model.objects.filter(name="glm-4.7").update(name=name, title=name)
    for slug in ["", *URLS]:
        assert "<script>alert" not in read(client, slug)


def test_sections_are_told_apart_by_their_headings() -> None:
    found = sections("<p>Before</p><h2 id='a'>One <b>two</b></h2><p>x</p><p>y &lt;z&gt;</p>")
    assert [(each.id, each.heading, each.text) for each in found] == [
        ("", "", "Before"),
        ("a", "One two", "x y <z>"),
    ]


def test_code_in_a_description_is_code_and_text_is_text() -> None:
    assert with_code("Set `a<b` to & `c`.") == ("Set <code>a&lt;b</code> to &amp; <code>c</code>.")


def test_no_page_shows_the_marks_of_code(catalogue: Any, client: Client) -> None:
    for page in pages():
        if page.operation is not None:
            assert "`" not in visible_text(read(client, page.slug))
