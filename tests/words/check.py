"""Find refused words in what people read: templates, emails, docs and string literals."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFUSED = Path(__file__).with_name("refused.toml")
# Directories and files with texts; tests and migrations are for developers.
PLACES = ("accounts", "api", "billing", "platform", "static/js", "templates", "*.md")

_COMMENT = re.compile(r"{% comment %}.*?{% endcomment %}|{#.*?#}|<style>.*?</style>", re.S)
_SHOWN_ATTRIBUTE = re.compile(
    r"""(?:aria-label|action|alt|content|label|placeholder|summary|text|title)="([^"{<]*)"""
)
_TAG = re.compile(r"{%.*?%}|{{.*?}}|<[^>]*>", re.S)
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.S | re.M)
_JS_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')


@dataclass(frozen=True)
class Finding:
    """A refused phrase in a file, and its replacement."""

    path: str
    line: int
    phrase: str
    replacement: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: write '{self.replacement}' for '{self.phrase}'"


def refused_phrases() -> dict[str, str]:
    """Return each refused phrase, in lower case, with its replacement."""
    tables = tomllib.loads(REFUSED.read_text())
    return {phrase: text for table in tables.values() for phrase, text in table.items()}


def files() -> list[Path]:
    """Return the files with texts for readers that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *PLACES]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in names.splitlines() if "/migrations/" not in name]
    return [path for path in paths if path.suffix in _READERS and path.exists()]


def all_findings() -> list[Finding]:
    """Return the refused phrases in all texts for readers."""
    refused = refused_phrases()
    return [found for path in files() for found in findings(path, path.read_text(), refused)]


def findings(path: Path, text: str, refused: dict[str, str]) -> list[Finding]:
    """Return the refused phrases in a file's text."""
    alternatives = "|".join(re.escape(phrase) for phrase in sorted(refused, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])(?:{alternatives})(?![\w-])", re.I)
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
    return [
        Finding(name, number, found[0], refused[found[0].lower()])
        for number, shown in _READERS[path.suffix](text)
        for found in pattern.finditer(" ".join(shown.replace("\u2019", "'").split()))
    ]


def _python_texts(text: str) -> Iterator[tuple[int, str]]:
    """Yield the string literals that are sentences or labels, without docstrings."""
    tree = ast.parse(text)
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield node.lineno, " … ".join(str(part) for part in parts)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in skipped:
            continue
        value = node.value
        if isinstance(value, str) and (" " in value or value[:1].isupper()):
            yield node.lineno, value


def _template_texts(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line's text and shown attributes; comments, tags and styles are left out."""
    blank = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    bare = _TAG.sub(lambda found: "\n" * found[0].count("\n") or " ", blank)
    for number, (whole, line) in enumerate(
        zip(blank.split("\n"), bare.split("\n"), strict=True), 1
    ):
        yield number, line
        for shown in _SHOWN_ATTRIBUTE.findall(whole):
            yield number, shown


def _markdown_texts(text: str) -> Iterator[tuple[int, str]]:
    """Yield a document's lines without code."""
    prose = _CODE.sub(lambda found: "\n" * found[0].count("\n"), text)
    yield from enumerate(prose.split("\n"), 1)


def _script_texts(text: str) -> Iterator[tuple[int, str]]:
    """Yield a script's string literals that have a space."""
    for number, line in enumerate(text.split("\n"), 1):
        for found in _JS_STRING.finditer(line):
            if " " in (shown := found[1] or found[2] or ""):
                yield number, shown


_READERS = {
    ".html": _template_texts,
    ".js": _script_texts,
    ".md": _markdown_texts,
    ".py": _python_texts,
    ".txt": _template_texts,
}
