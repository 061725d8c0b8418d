"""What a rendered page is made of: its headings, and the text beneath each."""

from dataclasses import dataclass
from html.parser import HTMLParser

_HEADINGS = ("h2", "h3")
_SILENT = ("button", "svg", "script")
# What ends a word where no space does.
_BLOCKS = ("p", "li", "td", "th", "pre", "dt", "dd", "tr", "h2", "h3", "div")


@dataclass
class Section:
    """A heading with its anchor, and its text. The first, before any heading, has neither."""

    level: int
    id: str
    heading: str
    text: str


def sections(html: str) -> list[Section]:
    """Return the sections of a page's text, in their order."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    for section in parser.found:
        section.heading = " ".join(section.heading.split())
        section.text = " ".join(section.text.split())
    return parser.found


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = [Section(1, "", "", "")]
        self._in_heading = False
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HEADINGS:
            anchor = dict(attrs).get("id") or ""
            self.found.append(Section(int(tag[1]), anchor, "", ""))
            self._in_heading = True
        elif tag in _SILENT:
            self._silent += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._in_heading = False
        elif tag in _SILENT:
            self._silent -= 1
        if tag in _BLOCKS:
            self.found[-1].text += " "

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._in_heading:
            self.found[-1].heading += data
        else:
            self.found[-1].text += data
