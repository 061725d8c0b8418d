"""A language that no one speaks: every translated text stands in brackets, so others are found."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from asgiref.local import Local
from django.utils.translation import trans_real

BEGIN, END = "⟦", "⟧"
_CONTEXT_END = "\x04"
# Elements whose text is no language's, besides those that say translate="no".
_UNTRANSLATED = {"bdi", "code", "kbd", "pre", "samp", "script", "style", "svg", "textarea"}
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
_SHOWN = ("alt", "aria-label", "placeholder", "title", "data-label")
_WORD = re.compile(r"[^\W\d_]{2,}")
# Addresses of web and email, names of files, the ends of keys, units and names that are the same in
# each language.
_SAME = re.compile(
    r"https?://\S+|[\w.+-]+@[\w.-]+|[\w-]+\.(?:py|js|json|csv|txt|toml)\b|[\w-]+…\w{4}\b"
    r"|\b[A-Z]\w+(?:/\w+)+|\b(?:Tollgate|API|CSV|JSON|OpenAPI|OpenAI|Anthropic|Stripe|Python|JavaScript|Go|curl|fetch|RSS|SDKs?|UTC|URL|ms|min)\b"
)


class PseudoTranslation:
    """What `django.utils.translation` asks for translations, putting each text into brackets."""

    def gettext(self, message: str) -> str:
        """Return the message in brackets, without its context."""
        text = message.rpartition(_CONTEXT_END)[2]
        return f"{BEGIN}{text}{END}" if text else text

    def ngettext(self, singular: str, plural: str, number: float) -> str:
        """Return the form for the number, in brackets."""
        return self.gettext(singular if number == 1 else plural)

    def language(self) -> str:
        """Return the code of a language with English numbers."""
        return "en"

    to_language = language


def speak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every page and email rendered in the pseudo-language until the test ends."""
    pseudo = PseudoTranslation()
    monkeypatch.setattr(trans_real, "translation", lambda _language: pseudo)
    monkeypatch.setattr(trans_real, "_default", pseudo)
    monkeypatch.setattr(trans_real, "_active", Local())


@dataclass
class UntranslatedText(HTMLParser):
    """Feed it a page: `found` are the texts in it that did not go through a translation."""

    found: list[str] = field(default_factory=list)
    _exempt: list[tuple[str, bool]] = field(default_factory=list)
    _depth: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at what attributes show; enter the element."""
        given = dict(attrs)
        is_exempt = tag in _UNTRANSLATED or given.get("translate") == "no"
        if not is_exempt and not self._is_exempt():
            for name in _SHOWN:
                self._look(given.get(name) or "", is_attribute=True)
        if tag not in _VOID:
            self._exempt.append((tag, is_exempt))

    def handle_endtag(self, tag: str) -> None:
        """Leave the element, and those in it that were not closed."""
        while self._exempt and self._exempt.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Look at text, unless its element is exempt."""
        if self._is_exempt():
            self._depth += data.count(BEGIN) - data.count(END)
        else:
            self._look(data)

    def _is_exempt(self) -> bool:
        return any(exempt for _, exempt in self._exempt)

    def _look(self, text: str, *, is_attribute: bool = False) -> None:
        depth, outside = (0 if is_attribute else self._depth), []
        for char in text:
            depth += (char == BEGIN) - (char == END)
            outside.append(" " if depth or char == END else char)
        if not is_attribute:
            self._depth = depth
        rest = _SAME.sub(" ", "".join(outside))
        if _WORD.search(rest):
            self.found.append(" ".join(rest.split()))


def untranslated(page: str) -> list[str]:
    """Return the texts of a page that no catalogue can translate."""
    parser = UntranslatedText()
    parser.feed(page)
    return parser.found
