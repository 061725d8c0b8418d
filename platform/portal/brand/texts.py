"""Texts that staff write: blocks of plain text, and placeholders such as `{team}`.

Nothing here is a template: a text is cut into blocks, placeholders are replaced once, and whatever
shows the result escapes it.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n\s*")
# "Add credits: {billing_url}" alone in its paragraph is a button; "{code}" alone is shown large.
_BUTTON = re.compile(r"([^:{}\n]{1,60}):\s*\{(\w+_url|url)\}")


class TextError(Exception):
    """A text with placeholders that an email doesn't have, or without one that it needs."""


@dataclass(frozen=True)
class Block:
    """A part of a text: `kind` is heading, list or paragraph."""

    kind: str
    lines: list[str]


@dataclass(frozen=True)
class Span:
    """A piece of a line; `is_link` if it is an address of ours, never one that staff wrote."""

    text: str
    is_link: bool = False


@dataclass(frozen=True)
class EmailBlock:
    """A part of an email: `kind` is paragraph, code or button. A button's `text` is its label."""

    kind: str
    lines: list[list[Span]]
    text: str = ""
    url: str = ""


def paragraphs(text: str) -> list[Block]:
    """Return a legal text's blocks: `# ` begins a heading and `- ` each point of a list."""
    blocks = []
    for part in _PARAGRAPHS.split(_clean(text)):
        lines = [line.strip() for line in part.split("\n") if line.strip()]
        if not lines:
            continue
        if lines[0].startswith("# "):
            blocks.append(Block("heading", [lines[0][2:].strip()]))
            lines = lines[1:]
        if lines and all(line.startswith("- ") for line in lines):
            blocks.append(Block("list", [line[2:].strip() for line in lines]))
        elif lines:
            blocks.append(Block("paragraph", lines))
    return blocks


def email_blocks(text: str, values: Mapping[str, str]) -> list[EmailBlock]:
    """Return the blocks of an email's body, with the placeholders' values."""
    blocks = []
    for part in _PARAGRAPHS.split(_clean(text)):
        button, alone = _BUTTON.fullmatch(part), _PLACEHOLDER.fullmatch(part)
        if button and values.get(button[2]):
            blocks.append(EmailBlock("button", [], button[1].strip(), values[button[2]]))
        elif alone and alone[1] == "code":
            blocks.append(EmailBlock("code", [], values.get("code", "")))
        elif part:
            lines = [list(_spans(line, values)) for line in part.split("\n")]
            blocks.append(EmailBlock("paragraph", lines))
    return blocks


def _spans(line: str, values: Mapping[str, str]) -> Iterator[Span]:
    for place, piece in enumerate(_PLACEHOLDER.split(line)):  # every other one is a name
        if place % 2:
            yield Span(values.get(piece, ""), is_link=piece == "url" or piece.endswith("_url"))
        elif piece:
            yield Span(piece)


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its placeholders replaced, once: values are never looked into."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], ""), _clean(text))


def check_placeholders(text: str, known: Collection[str], required: Collection[str] = ()) -> None:
    """Raise TextError for unknown and missing placeholders, and for lone braces."""
    used = _PLACEHOLDER.findall(text)
    unknown = sorted({name for name in used if name not in known})
    if unknown:
        listed = ", ".join(f"{{{name}}}" for name in sorted(known))
        raise TextError(f"{{{unknown[0]}}} is not a placeholder of this email. There are {listed}.")
    if re.search(r"[{}]", _PLACEHOLDER.sub("", text)):
        raise TextError("Braces are only for placeholders, such as {service}.")
    missing = [name for name in required if name not in used]
    if missing:
        raise TextError(f"The email doesn't work without {{{missing[0]}}}: add it.")


def _clean(text: str) -> str:
    return text.replace("\r\n", "\n").strip()
