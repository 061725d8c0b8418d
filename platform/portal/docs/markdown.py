"""A documentation page as Markdown, for programs that read: made of the page that people see."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

_SILENT = {"button", "svg", "script"}
_BLOCKS = {"p", "h2", "h3", "li", "dt", "dd", "td", "th", "div"}
_MARKS = {"strong": "**", "em": "*"}
_HEADINGS = {"h2": "## ", "h3": "### "}
_SPECIAL = re.compile(r"([\\`*_\[\]<])")


def to_markdown(html: str, base_url: str) -> str:
    """Return HTML as the documentation's templates write it in Markdown, with absolute links."""
    writer = _Writer(base_url)
    writer.feed(html)
    writer.close()
    writer.end_block()
    return "\n\n".join(writer.blocks) + "\n"


class _Writer(HTMLParser):
    """Collects blocks: paragraphs, headings, lists, tables and code."""

    def __init__(self, base_url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.blocks: list[str] = []
        self._base_url = base_url
        self._text: list[str] = []
        self._code: list[str] | None = None
        self._language = ""
        self._is_pre = False
        self._silent = 0
        self._links: list[str] = []
        self._rows: list[list[str]] | None = None
        self._term = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS and self._rows is None:
            self.end_block()
        elif tag == "table":
            self.end_block()
            self._rows = []
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag == "pre":
            self.end_block()
            self._is_pre = True
        elif tag == "code":
            self._code = []
            self._language = (given.get("class") or "").removeprefix("language-")
        elif tag == "a":
            self._links.append(urljoin(self._base_url, given.get("href") or ""))
            self._text.append("[")
        elif tag in _MARKS:
            self._text.append(_MARKS[tag])
        elif tag == "span":
            self._text.append(" ")  # styles set it apart from what is before it

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent -= 1
        elif tag == "code":
            self._end_code()
        elif tag == "pre":
            self._is_pre = False
        elif tag == "a":
            self._text.append(f"]({self._links.pop()})")
        elif tag in _MARKS:
            self._text.append(_MARKS[tag])
        elif self._rows is not None:
            self._end_in_table(tag, self._rows)
        else:
            self._end_text(tag)

    def _end_in_table(self, tag: str, rows: list[list[str]]) -> None:
        if tag in {"td", "th"}:
            rows[-1].append(self._taken().replace("|", "\\|"))
        elif tag == "table":
            self._rows = None
            self._add_table([row for row in rows if row])

    def _end_text(self, tag: str) -> None:
        if tag == "dt":
            self._term = self._taken()
        elif tag == "dd":
            self._add_item(f"{self._term}: {self._taken()}")
        elif tag == "li":
            self._add_item(self._taken())
        elif tag in _HEADINGS:
            self.blocks.append(_HEADINGS[tag] + self._taken())
        elif tag in _BLOCKS:
            self.end_block()

    def handle_data(self, data: str) -> None:
        if self._code is not None:
            self._code.append(data)
        elif not self._silent:
            self._text.append(_SPECIAL.sub(r"\\\1", data))

    def end_block(self) -> None:
        """End a paragraph, if one has begun."""
        if text := self._taken():
            self.blocks.append(text)

    def _taken(self) -> str:
        """Return the text since the last block, with single spaces."""
        text = " ".join("".join(self._text).split())
        self._text = []
        return text

    def _add_item(self, text: str) -> None:
        """Add an item to the list above it, or begin one."""
        if self.blocks and self.blocks[-1].startswith("- "):
            self.blocks[-1] += f"\n- {text}"
        else:
            self.blocks.append(f"- {text}")

    def _end_code(self) -> None:
        code = "".join(self._code or ())
        self._code = None
        longest = max((len(run) for run in re.findall("`+", code)), default=0)
        if self._is_pre:
            fence = "`" * max(3, longest + 1)
            self.blocks.append(f"{fence}{self._language}\n{code.rstrip()}\n{fence}")
        else:
            ticks = "`" * (longest + 1)
            pad = " " if longest else ""
            self._text.append(f"{ticks}{pad}{code}{pad}{ticks}")

    def _add_table(self, rows: list[list[str]]) -> None:
        width = max((len(row) for row in rows), default=0)
        lines = [f"| {' | '.join([*row, *[''] * (width - len(row))])} |" for row in rows]
        lines.insert(1, f"|{' --- |' * width}")
        self.blocks.append("\n".join(lines))
