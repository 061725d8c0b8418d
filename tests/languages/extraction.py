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
_ARGUMENTS |= {"_": ("singular",), "gettext_noop": ("singular",), "Phrase": ("singular",)}
# The texts of the API's errors (api/errors.py).
_ATTRIBUTES = ("default_message", "template")
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
            found.setdefault(Text(text), set()).add(place)
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
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if getattr(target, "id", "") in _ATTRIBUTES and node.value.value:
                yield Text(node.value.value)
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name == "Component":
            yield from _names_of_component(node)
        named = _ARGUMENTS.get(name, ())
        values = [getattr(each, "value", None) for each in node.args[: len(named)]]
        if named and len(values) == len(named) and all(isinstance(each, str) for each in values):
            yield Text(**dict(zip(named, values, strict=True)))


def _names_of_component(call: ast.Call) -> Iterator[Text]:
    """Yield what a priced component is called, alone and beside a number (billing/pricing)."""
    given = {each.arg: getattr(each.value, "value", "") for each in call.keywords}
    yield Text(given["singular"], given["plural"], context="component")
    for name in ("plural", "rest_label"):
        if given.get(name):
            yield Text(given[name], context="component")
