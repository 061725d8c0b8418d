"""Search over the documentation: every word must be in a section; titles and headings count more.

The index is the pages as nobody in particular would read them, made once for a catalogue and a
language.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from django.utils.translation import get_language

from portal.docs.pages import Page, pages
from portal.docs.sections import Section, sections

LONGEST_QUERY = 100
MOST_WORDS = 8
MOST_RESULTS = 20
EXCERPT_CHARS = 180
INDEX_SECONDS = 300
MOST_INDEXES = 4  # one for each language
_TITLE, _HEADING, _TEXT = 12, 6, 1

Render = Callable[[Page], str]


@dataclass(frozen=True)
class Fragment:
    """A piece of an excerpt; `is_match` marks what was searched for."""

    text: str
    is_match: bool


@dataclass(frozen=True)
class Result:
    """A section that was found."""

    page: Page
    section: Section
    excerpt: list[Fragment]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.page.url}#{self.section.id}" if self.section.id else self.page.url


def search(query: str, index: list[tuple[Page, Section]]) -> list[Result]:
    """Return the sections that have all of the query's words, the best first."""
    words = re.findall(r"\w+", query[:LONGEST_QUERY].lower())[:MOST_WORDS]
    if not words:
        return []
    scored = [
        (score, -place, page, section)
        for place, (page, section) in enumerate(index)
        if (score := _score(words, page, section))
    ]
    scored.sort(key=lambda found: found[:2], reverse=True)
    return [
        Result(page, section, _excerpt(words, section.text))
        for _, _, page, section in scored[:MOST_RESULTS]
    ]


def index_of(render: Render, version: int) -> list[tuple[Page, Section]]:
    """Return all sections of all pages. `render` gives a page's HTML; what it says follows
    from the active language, the catalogue's `version` and, as prices take effect, from the time.
    """
    moment = int(time.time() // INDEX_SECONDS)
    return _index(get_language() or "", version, moment, _Keyless(render))


class _Keyless:
    """A function that counts for nothing where calls are told apart."""

    def __init__(self, call: Render) -> None:
        self.call = call

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyless)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=MOST_INDEXES)
def _index(
    _language: str, _version: int, _moment: int, render: _Keyless
) -> list[tuple[Page, Section]]:
    return [(page, section) for page in pages() for section in sections(render.call(page))]


def _score(words: list[str], page: Page, section: Section) -> int:
    title, heading = page.title.lower(), section.heading.lower()
    text = f"{page.summary} {section.text}".lower() if section.level == 1 else section.text.lower()
    total = 0
    for word in words:
        in_title = word in title
        # A word of the page's title finds the page, rather than each of its sections.
        score = (
            _TITLE * (in_title and section.level == 1)
            + _HEADING * (word in heading)
            + _TEXT * min(text.count(word), 5)
        )
        if not score and not (in_title and total):
            return 0
        total += score
    return total


def _excerpt(words: list[str], text: str) -> list[Fragment]:
    """Return the text around the first match, cut at spaces, with the matches marked."""
    places = [place for word in words if (place := text.lower().find(word)) >= 0]
    start = max(0, min(places, default=0) - EXCERPT_CHARS // 3)
    if start:
        start = text.find(" ", start) + 1
    cut = text[start : start + EXCERPT_CHARS]
    if start + EXCERPT_CHARS < len(text):
        cut = cut.rsplit(" ", 1)[0] + " …"
    if start:
        cut = "… " + cut
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    pieces = re.split(f"({pattern})", cut, flags=re.IGNORECASE)
    return [Fragment(piece, place % 2 == 1) for place, piece in enumerate(pieces) if piece]
