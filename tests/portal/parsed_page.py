"""A page as a browser reads it: elements, attributes, and what text stands where."""

import re
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser

_VOID = {
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "source",
    "wbr",
}
# Their text stands alone, with nothing after it on its line that it could turn around.
_ALONE = {"title", "option", "textarea", "script"}


@dataclass
class ParsedPage(HTMLParser):
    """Feed it a page. `scripts` are the texts of JSON blocks."""

    tags: set[str] = field(default_factory=set)
    attributes: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    not_isolated: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, bool]] = []
        self._in_json = False

    @property
    def text(self) -> str:
        """All text between tags."""
        return "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.attributes |= given.keys()
        self._in_json = given.get("type") == "application/json"
        if tag not in _VOID:
            isolates = tag == "bdi" or tag in _ALONE or given.get("dir") == "auto"
            self._open.append((tag, isolates))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._in_json:
            self.scripts.append(data)
            self._in_json = False
        if "\u202e" in data and not any(isolates for _, isolates in self._open):
            place = " > ".join(tag for tag, _ in self._open[-4:])
            self.not_isolated.append(f"{place}: {data.strip()[:60]!r}")


def parse(page: str) -> ParsedPage:
    """Return the page, parsed."""
    parsed = ParsedPage()
    parsed.feed(page)
    parsed.close()
    return parsed


def visible_text(html: str) -> str:
    """Return the text between a page's tags, each run of white space as one space."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())
