"""Texts for the API's clients, which are told in the language of their `Accept-Language`."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from django.http import HttpRequest
from django.utils import translation
from django.utils.translation import gettext


class Phrase(str):
    """A text for clients, in English, that can be said in another language.

    `values` are put into its braces: texts, numbers, or other phrases. `tests/languages` finds the
    texts to translate by this class's name.
    """

    _text: str
    _values: tuple[tuple[object, ...], dict[str, object]]

    def __new__(cls, text: str, /, *places: object, **values: object) -> Self:
        """Return the text with the values in their places; a phrase without any as it is."""
        if isinstance(text, cls) and not (places or values):
            return text
        self = super().__new__(cls, text.format(*places, **values) if places or values else text)
        self._text, self._values = text, (places, values)
        return self

    def translated(self) -> str:
        """Return the text in the active language."""
        places, values = self._values
        text = gettext(self._text)
        if not (places or values):
            return text
        return text.format(
            *(translated(value) for value in places),
            **{name: translated(value) for name, value in values.items()},
        )


def translated(value: object) -> str:
    """Return a phrase in the active language, and anything else as it is."""
    return value.translated() if isinstance(value, Phrase) else str(value)


def cleaned(text: str, longest: int) -> str:
    """Return the text cut to a length and without lone surrogates, which no JSON can carry."""
    text = text[:longest]
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def in_language_of(headers: Mapping[bytes, bytes]) -> AbstractContextManager[None]:
    """Return a block in which errors are in a client's language, by its `Accept-Language`."""
    accepted = headers.get(b"accept-language")
    if not accepted:
        return nullcontext()
    asked = HttpRequest()
    asked.META["HTTP_ACCEPT_LANGUAGE"] = accepted.decode("latin-1")
    return translation.override(translation.get_language_from_request(asked))
