"""The catalogues are complete, compiled, and fit the texts that they translate."""

import re

import pytest

from tests.languages import catalogues
from tests.languages.extraction import Text, texts

_PLACEHOLDER = re.compile(r"%\(\w+\)s|\{\w*\}|%%")
_TAG = re.compile(r"<[^>]+>")

pytestmark = pytest.mark.parametrize("language", catalogues.LOCALES)


def test_every_text_is_translated_and_no_other(language: str) -> None:
    catalogue = catalogues.read(language)
    assert {catalogues.text_of(message) for message in catalogue if message.id} == set(texts())
    assert catalogues.untranslated(catalogue) == []


def test_the_compiled_catalogue_is_that_of_the_text(language: str) -> None:
    fresh = catalogues.updated(language, texts())
    assert catalogues.path_of(language, "po").read_bytes() == catalogues.written(fresh)
    assert catalogues.path_of(language, "mo").read_bytes() == catalogues.compiled(fresh)


def test_no_translation_could_end_an_attribute(language: str) -> None:
    """A template's own texts are not escaped: a straight quote would end what is around it."""
    wrong = []
    for message in catalogues.read(language):
        forms = message.string if isinstance(message.string, tuple) else [message.string]
        english = "".join(message.id)
        wrong += [form for form in forms if english and '"' in form and '"' not in english]
    assert wrong == []


def test_placeholders_and_tags_are_those_of_the_english_text(language: str) -> None:
    wrong = []
    for message in catalogues.read(language):
        if not message.id:
            continue
        english: Text = catalogues.text_of(message)
        forms = message.string if isinstance(message.string, tuple) else [message.string]
        expected = english.plural or english.singular
        for form in filter(None, forms):
            for pattern in (_PLACEHOLDER, _TAG):
                # A form for a single number may leave the number out.
                given, wanted = set(pattern.findall(form)), set(pattern.findall(expected))
                least = set(pattern.findall(english.singular)) & wanted
                if not (least <= given <= wanted):
                    wrong.append((form, given ^ wanted))
    assert wrong == []
