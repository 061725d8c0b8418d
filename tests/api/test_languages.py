"""Errors of the API in the client's language: another message, the same code."""

import pytest
from django.conf import settings
from django.utils import translation

from api import errors
from api.phrases import Phrase, in_language_of
from tests.languages.pseudo import speak

CZECH = {b"accept-language": b"cs-CZ,cs;q=0.9,en;q=0.5"}


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (b"cs-CZ,cs;q=0.9,en;q=0.5", "cs"),
        (b"zh-CN,zh;q=0.9", "zh-hans"),
        (b"fr, ru;q=0.4, en;q=0.1", "ru"),
        (b"*", "en"),  # as Node.js sends it
        (b"de", "en"),
        (b"\xff;q=;;q", "en"),
        (b"", "en"),
    ],
)
def test_the_language_is_the_first_accepted_one_that_we_have(
    accepted: bytes, language: str
) -> None:
    with in_language_of({b"accept-language": accepted}):
        assert (translation.get_language() or settings.LANGUAGE_CODE) == language


def test_values_are_put_into_the_translated_text_and_phrases_among_them_are_translated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = errors.InvalidTypeError(
        Phrase("expected {wanted} at '{path}'", wanted=Phrase("a string"), path="a{b}"), param="a"
    )
    assert (str(error), error.message) == ("expected a string at 'a{b}'",) * 2
    speak(monkeypatch)
    with in_language_of(CZECH):
        assert error.message == "⟦expected ⟦a string⟧ at 'a{b}'⟧"
    assert str(error) == "expected a string at 'a{b}'"


def test_a_text_of_an_upstream_is_no_template() -> None:
    assert errors.InvalidRequestError("{0} {x} {").message == "{0} {x} {"
