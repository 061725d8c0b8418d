"""Pages and emails in the reader's language: which one it is, and that all of a page is in it."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import Team, User
from api.models import Service
from portal.docs import search as docs_search
from portal.docs.pages import pages
from portal.emails import sending
from portal.emails.texts import EMAILS
from tests.languages.pseudo import speak, untranslated
from tests.portal.filled import fill
from tests.portal.keys_pages import load_catalogue
from tests.portal.url_map import PAGES, address

pytestmark = [
    pytest.mark.django_db,
    # The test's client is synchronous, the service is not.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous"),
]

# Tools of developers, which are in English.
_ENGLISH_PAGES = {"design", "mailbox", "mailbox_email"}


def test_every_text_of_every_page_can_be_translated(
    browser: Client, alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_catalogue(monkeypatch)
    filled = fill(alice, alices_team, "12345", "67890")
    Service.objects.update(tagline="")  # the operator's own words
    speak(monkeypatch)
    visitor, left = Client(), []
    for name, page in PAGES.items():
        if name in _ENGLISH_PAGES or "GET" not in page.methods:
            continue
        for client in (browser, visitor):
            answer = client.get(address(name, filled.arguments))
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                text: Any = b"".join(answer) if answer.streaming else answer.content
                left += [f"{name}: {each}" for each in untranslated(text.decode())]
    assert not left, "\n" + "\n".join(sorted(set(left)))


def test_every_text_of_the_documentation_can_be_translated(
    catalogue: Any,
    browser: Client,
    alice: User,
    alices_team: Team,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alice.name = alices_team.name = "12345"
    alice.save()
    alices_team.save()
    # No index in a language that no one speaks is left behind.
    monkeypatch.setattr(docs_search, "_index", docs_search._index.__wrapped__)
    urls, visitor = [page.url for page in pages()], Client()
    speak(monkeypatch)
    left = _left(visitor, [*urls, "/docs/models"])
    catalogue("default")
    listed = visitor.get("/docs/models").content.decode()
    models = sorted(set(re.findall(r'href="(/docs/models/[^"?]+)"', listed)))
    assert models
    left += _left(visitor, [*urls, "/docs/search?q=zzz", "/docs/models?q=zzz", *models])
    left += _left(browser, ["/docs/rate-limits"])
    assert not left, "\n" + "\n".join(sorted(set(left)))


def _left(client: Client, urls: list[str]) -> list[str]:
    """Return the texts of pages that no catalogue can translate, with their addresses."""
    return [
        f"{url}: {text}" for url in urls for text in untranslated(client.get(url).content.decode())
    ]


@pytest.mark.parametrize("name", EMAILS)
def test_every_text_of_an_email_can_be_translated(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(monkeypatch)
    # What staff report is in the language they write it in.
    context = {**EMAILS[name].context, "text": "12345"}
    email = sending.write(name, "12345@example.com", context)
    assert untranslated(email.subject) == []
    assert untranslated(str(email.body)) == []
    assert untranslated(str(email.alternatives[0][0])) == []
