"""Keep the catalogues, `platform/locale/<language>/LC_MESSAGES/django.po`, and compile them.

The compiled `django.mo` are committed: a release works without a step that could be forgotten.
"""

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.messages import pofile
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo

from tests.languages.extraction import ROOT, Text, texts

LOCALES = {"zh-hans": "zh_Hans", "ru": "ru", "cs": "cs"}
_STARTED = datetime(2026, 12, 1, tzinfo=UTC)  # the same in every update, so that only texts differ


def path_of(language: str, ending: str) -> Path:
    """Return the file of a language's catalogue: `po` or `mo`."""
    return ROOT / "platform" / "locale" / LOCALES[language] / "LC_MESSAGES" / f"django.{ending}"


def read(language: str) -> Catalog:
    """Return the catalogue of a language; an empty one if there is none yet."""
    path = path_of(language, "po")
    if not path.exists():
        return Catalog(locale=LOCALES[language])
    with path.open("rb") as file:
        return pofile.read_po(file, locale=LOCALES[language])


def updated(language: str, wanted: dict[Text, set[str]]) -> Catalog:
    """Return the catalogue with exactly the texts that are in the code, translated as before."""
    known = {text_of(message): message.string for message in read(language) if message.id}
    catalogue = Catalog(
        locale=LOCALES[language],
        header_comment=f"# Tollgate's texts in {Locale.parse(LOCALES[language]).english_name}.",
        project="Tollgate",
        version="1",
        msgid_bugs_address="the project's issues",
        last_translator="the project's authors",
        language_team="the project's authors",
        creation_date=_STARTED,
        revision_date=_STARTED,
        fuzzy=False,
    )
    for text in sorted(wanted, key=lambda text: (min(wanted[text]), text)):
        catalogue.add(
            (text.singular, text.plural) if text.plural else text.singular,
            known.get(text) or None,
            locations=[(place, 0) for place in sorted(wanted[text])],
            context=text.context or None,
        )
    return catalogue


def text_of(message: Message) -> Text:
    """Return the text that a message of a catalogue translates."""
    singular, plural = message.id if isinstance(message.id, tuple) else (message.id, "")
    return Text(singular, plural, message.context or "")


def written(catalogue: Catalog) -> bytes:
    """Return the catalogue as the text of a `.po` file."""
    file = BytesIO()
    pofile.write_po(file, catalogue, width=100, include_lineno=False)
    return file.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """Return the catalogue as a `.mo` file, without the texts that are not translated."""
    missing = set(untranslated(catalogue))
    for text in missing:
        catalogue.delete(
            (text.singular, text.plural) if text.plural else text.singular, text.context
        )
    file = BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def untranslated(catalogue: Catalog) -> list[Text]:
    """Return the texts without a translation, or without one of its plural forms."""
    return [
        text_of(message)
        for message in catalogue
        if message.id
        and not all(message.string if isinstance(message.string, tuple) else [message.string])
    ]


def update_all() -> dict[str, list[Text]]:
    """Write every catalogue anew, and compile it. Return what is left to translate."""
    wanted, left = texts(), {}
    for language in LOCALES:
        catalogue = updated(language, wanted)
        path_of(language, "po").parent.mkdir(parents=True, exist_ok=True)
        path_of(language, "po").write_bytes(written(catalogue))
        path_of(language, "mo").write_bytes(compiled(catalogue))
        left[language] = untranslated(catalogue)
    return left
