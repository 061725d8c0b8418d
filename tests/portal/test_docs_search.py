"""Search in the documentation: by all words, titles first, as text, with and without a script."""

from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import translation

from portal.docs.pages import pages
from portal.docs.search import index_of, search
from portal.docs.sections import Section

pytestmark = pytest.mark.django_db
FIRST, SECOND = pages()[0], pages()[1]
INDEX = [
    (FIRST, Section(1, "", "", "Point an SDK here.")),
    (FIRST, Section(2, "retry", "Which errors to retry", "Wait as long as Retry-After says.")),
    (SECOND, Section(1, "", "", "Each request brings a key. Wait for nothing.")),
    (SECOND, Section(2, "wait", "Wait", "Nothing here.")),
]


def found(query: str) -> list[str]:
    return [result.url for result in search(query, INDEX)]


def test_each_language_has_an_index_of_its_own() -> None:
    for language in ("en", "cs", "en"):
        with translation.override(language):
            index = index_of(lambda _page: f"<p>{translation.get_language()}</p>", version=-1)
        assert {section.text for _, section in index} == {language}


def test_a_section_must_have_every_word() -> None:
    assert found("retry-after wait") == ["/docs#retry"]
    assert found("retry key") == []


def test_a_heading_counts_more_than_the_text() -> None:
    assert found("wait")[0] == "/docs/authentication#wait"


def test_a_title_finds_its_page() -> None:
    assert found("Authentication") == ["/docs/authentication"]


def test_nothing_but_signs_finds_nothing() -> None:
    assert found("") == found("?!") == found("   ") == []


def test_what_was_searched_is_marked_in_the_excerpt() -> None:
    (result,) = search("RETRY", INDEX)
    assert [(piece.text, piece.is_match) for piece in result.excerpt] == [
        ("Wait as long as ", False),
        ("Retry", True),
        ("-After says.", False),
    ]


@pytest.fixture(autouse=True)
def _catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9")
    call_command("load_catalogue", "weatmood", "--replace", verbosity=0)


def test_the_page_of_results_needs_no_script(client: Client) -> None:
    page = client.get("/docs/search", {"q": "insufficient_quota"}).content.decode()
    assert 'href="/docs/errors#all"' in page
    assert "<mark>insufficient_quota</mark>" in page
    assert 'value="insufficient_quota"' in page


def test_htmx_gets_the_list_alone(client: Client) -> None:
    answer = client.get("/docs/search", {"q": "stream"}, headers={"HX-Request": "true"})
    page = answer.content.decode()
    assert "<html" not in page
    assert 0 < page.count("<li>") <= 8
    assert "HX-Request" in answer["Vary"]


@pytest.mark.parametrize(
    "query", ["<script>alert(1)</script>", "a" * 5_000, "\0", "(((", "\u202e" * 9, "%"]
)
def test_any_words_are_text(client: Client, query: str) -> None:
    answer = client.get("/docs/search", {"q": query})
    assert answer.status_code == 200
    assert b"<script>alert" not in answer.content


def test_without_words_it_asks_for_some(client: Client) -> None:
    assert b"Search for a parameter" in client.get("/docs/search").content


def test_the_index_follows_the_catalogue(client: Client) -> None:
    def finds(model: str) -> Any:
        return b'<a href="/docs' in client.get(
            "/docs/search", {"q": model}, headers={"HX-Request": "true"}
        ).content  # fmt: skip

    assert finds("qwen3.6-27b")
    assert not finds("glm-4.6v-flashx")
    call_command("load_catalogue", "zai", "--replace", verbosity=0)
    assert finds("glm-4.6v-flashx")
