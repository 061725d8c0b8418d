"""Find the texts to translate: those marked in templates and Python, and the reference's."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.utils.translation.template import templatize

from tests.languages.reference import reference_texts

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("accounts", "api", "billing", "platform/config", "platform/portal", "templates")
# What each argument of the functions of `django.utils.translation` is.
_ARGUMENTS = {
    "gettext": ("singular",),
    "ngettext": ("singular", "plural"),
    "pgettext": ("context", "singular"),
    "npgettext": ("context", "singular", "plural"),
}
_ARGUMENTS |= {f"{name}_lazy": arguments for name, arguments in _ARGUMENTS.items()}
_ARGUMENTS |= {"_": ("singular",), "gettext_noop": ("singular",)}
# `templatize` blots out everything but the marked texts, which it writes as calls.
_STRING = r"u?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
_CALL = re.compile(rf" (?:n?p?gettext|_)\({_STRING}(?:, {_STRING})*(?:, ?count)?\) ", re.S)


class Text(NamedTuple):
    """A text to translate; most have no context and no plural."""

    singular: str
    plural: str = ""
    context: str = ""


def texts() -> dict[Text, set[str]]:
    """Return every text to translate, with the files that it is in."""
    found: dict[Text, set[str]] = {}
    for name in _files():
        source = (ROOT / name).read_text()
        if name.startswith("templates/"):
            calls = _CALL.findall(templatize(source, origin=name))
            source = "\n".join(call.strip() for call in calls)
        for text in _marked(ast.parse(source)):
            found.setdefault(text, set()).add(name)
    for place, each in reference_texts().items():
        for text in each:
            found.setdefault(Text(*text), set()).add(place)
    return found


def _files() -> list[str]:
    """Return the templates and modules that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PLACES]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [
        name
        for name in sorted(set(names.splitlines()))
        if name.endswith((".py", ".html", ".txt")) and "/migrations/" not in name
        if name.endswith(".py") or name.startswith("templates/")
        if (ROOT / name).exists()
    ]


def _marked(tree: ast.AST) -> Iterator[Text]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        arguments = _ARGUMENTS.get(name, ())
        values = [getattr(each, "value", None) for each in node.args[: len(arguments)]]
        # A text that is not written there is one of the reference's.
        if values and all(isinstance(each, str) for each in values):
            yield Text(**dict(zip(arguments, values, strict=True)))
