"""The CSV file of an upstream's usage export, read as a stream: bytes in, checked lines out.

The file is hostile input. It may have any delimiter that spreadsheets write, and be UTF-8 or, with
a byte order mark, UTF-16. Everything wrong with it is reported with the line's number.
"""

import codecs
import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from itertools import chain, islice
from typing import NamedTuple

DELIMITERS = ",;\t|"
MOST_COLUMNS = 500
MOST_ERRORS = 20
_LONGEST_LINE = 256 * 1024
_LONGEST_SHOWN = 60

# (field, label, whether every export has it), in the order in which people map them.
FIELDS = (
    ("request_id", "Request id", True),
    ("time", "Time", True),
    ("model", "Model", False),
    ("input_tokens", "Input tokens", True),
    ("cached_tokens", "Cached input tokens", False),
    ("output_tokens", "Output tokens", True),
    ("cost", "Cost", False),
)

_MOST_TOKENS = 10**12
_MOST_NANOS = 10**17
_COUNT = re.compile(r"([0-9]{1,18})(?:\.0*)?", re.ASCII)
_AMOUNT = re.compile(r"\$?([+-]?[0-9]{1,15}(?:\.[0-9]{0,30})?(?:[eE][+-]?[0-9]{1,2})?)", re.ASCII)
_UNIX = re.compile(r"([0-9]{10})([0-9]{3}|[0-9]{6})?(?:\.[0-9]{1,9})?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_EXACT = Context(prec=80)
_EARLIEST, _LATEST = datetime(2015, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class ExportError(Exception):
    """A file that can't be read. The message is for staff, a line for each problem."""


@dataclass(frozen=True)
class Mapping:
    """Which column has what, and in what units.

    `columns` maps the names of `FIELDS` to the header's. `unit_nanos` is what one unit of the cost
    is in nano-dollars.
    """

    columns: dict[str, str]
    unit_nanos: int = 10**9
    cached_is_separate: bool = False


class ExportLine(NamedTuple):
    """A request of the export. None is unknown; input tokens include the cached ones.

    Without a request id the line is no request's: a fee or a total.
    """

    number: int
    request_id: str
    at: datetime
    is_date: bool
    model: str
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    cost_nanos: int | None


class _ValueError(Exception):
    """A field that isn't what its column should have."""


@dataclass(frozen=True)
class Preview:
    """The header of a file and its first lines."""

    header: list[str]
    rows: list[list[str]]


def preview(chunks: Iterable[bytes], rows: int = 5) -> Preview:
    """Return the header and the first rows. Raise ExportError."""
    file = _open(chunks)
    return Preview(
        file.header, [[_shown(cell) for cell in row] for _, row in islice(file.rows, rows)]
    )


def read(chunks: Iterable[bytes], mapping: Mapping) -> Iterator[ExportLine]:
    """Yield the file's lines. Raise ExportError, which lists up to MOST_ERRORS problems.

    What was yielded before the error must be dropped: a file is imported whole or not at all.
    """
    file = _open(chunks)
    header, places = file.header, _places(file.header, mapping)
    errors: list[str] = []
    count = 0
    for number, row in file.rows:
        try:
            if any(cell.strip() for cell in row[len(header) :]) or len(row) < len(header):
                raise _ValueError(f"has {len(row)} fields; the header has {len(header)}")
            line = _line(number, row, places, mapping, file.delimiter)
        except _ValueError as error:
            errors.append(f"Line {number}: {error}.")
            if len(errors) == MOST_ERRORS:
                errors.append("There may be more.")
                break
            continue
        count += 1
        if not errors:
            yield line
    if errors:
        raise ExportError("\n".join(errors))
    if not count:
        raise ExportError("The file has a header but no lines.")


def _places(header: list[str], mapping: Mapping) -> dict[str, int]:
    """Return the column of each mapped field. Raise ExportError."""
    places = {}
    for field, label, is_required in FIELDS:
        name = mapping.columns.get(field, "")
        if not name and is_required:
            raise ExportError(f"Choose the column of: {label.lower()}.")
        if name and header.count(name) != 1:
            times = "no column" if name not in header else "more than one column"
            raise ExportError(f"Line 1: the header has {times} named “{_shown(name)}”.")
        if name:
            places[field] = header.index(name)
    return places


def _line(
    number: int, row: list[str], places: dict[str, int], mapping: Mapping, delimiter: str
) -> ExportLine:
    """Return a checked line. Raise _ValueError."""

    def text(field: str) -> str:
        return row[places[field]].strip() if field in places else ""

    request_id = text("request_id")
    if len(request_id) > 200:
        raise _ValueError("the request id is longer than 200 characters")
    at, is_date = _time(text("time"))
    whole = _count("input tokens", text("input_tokens"))
    cached = _count("cached tokens", text("cached_tokens"))
    output = _count("output tokens", text("output_tokens"))
    if whole is not None and cached is not None:
        if mapping.cached_is_separate:
            whole += cached
        elif cached > whole:
            raise _ValueError(
                f"{cached} cached tokens are more than the {whole} input tokens; are cached "
                "tokens counted separately?"
            )
    amount = text("cost")
    if delimiter == ";":
        amount = amount.replace(",", ".")  # locales with decimal commas write semicolons
    cost = _nanos(amount, mapping.unit_nanos)
    model = text("model")[:120]
    return ExportLine(number, request_id, at, is_date, model, whole, cached, output, cost)


def _count(what: str, text: str) -> int | None:
    if not text:
        return None
    found = _COUNT.fullmatch(text)
    if found is None or int(found[1]) > _MOST_TOKENS:
        raise _ValueError(f"“{_shown(text)}” is not a number of {what}")
    return int(found[1])


def _nanos(text: str, unit_nanos: int) -> int | None:
    """Return a cost in nano-dollars, half up. Raise _ValueError."""
    if not text:
        return None
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise _ValueError(f"“{_shown(text)}” is not an amount")
    exact = _EXACT.multiply(Decimal(found[1]), Decimal(unit_nanos))
    if abs(exact) > _MOST_NANOS:
        raise _ValueError(f"a cost of {_shown(text)} is too large; is the unit right?")
    return int(exact.to_integral_value(ROUND_HALF_UP, _EXACT))


def _time(text: str) -> tuple[datetime, bool]:
    """Return a time, and whether it is only a date. Times without a zone are UTC."""
    try:
        if unix := _UNIX.fullmatch(text):
            at = datetime.fromtimestamp(int(unix[1]), UTC)
        else:
            at = datetime.fromisoformat(re.sub(r" ?(UTC|GMT)$", "+00:00", text))
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = _LATEST
    if not _EARLIEST <= at < _LATEST:
        raise _ValueError(
            f"“{_shown(text)}” is not a time; write it as 2026-11-30T14:05:00Z or in Unix seconds"
        )
    return at, _DATE.fullmatch(text) is not None


class _File(NamedTuple):
    """A file that was opened: its header, and its further lines with their numbers."""

    delimiter: str
    header: list[str]
    rows: Iterator[tuple[int, list[str]]]


def _open(chunks: Iterable[bytes]) -> _File:
    """Read the header. Raise ExportError."""
    lines = _lines(chunks)
    first = next(lines, "")
    if not first.strip(f"{DELIMITERS} \r\n"):
        raise ExportError("Line 1: the header is empty." if first else "The file is empty.")
    delimiter = max(DELIMITERS, key=first.count)
    rows = _parsed(chain([first], lines), delimiter)
    header = [cell.strip() for cell in next(rows)[1]]
    if len(header) > MOST_COLUMNS:
        raise ExportError(f"Line 1: more than {MOST_COLUMNS} columns.")
    return _File(delimiter, header, rows)


def _parsed(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each line that isn't blank, with its number. Raise ExportError."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ExportError(f"Line {number}: {error}. Is a quote not closed?") from None
        if any(cell.strip() for cell in row):
            yield number, row


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the file's lines as text, with bounded memory. Raise ExportError."""
    decoder: codecs.IncrementalDecoder | None = None
    rest, number = "", 0
    for chunk in _ended(chunks):
        if decoder is None:
            is_utf16 = chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            decoder = codecs.getincrementaldecoder("utf-16" if is_utf16 else "utf-8-sig")()
        try:
            rest += decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            before = rest.count("\n") + chunk[: error.start].count(b"\n")
            raise ExportError(
                f"Line {number + before + 1} is not UTF-8. Save the file as “CSV UTF-8”."
            ) from None
        # Only at line feeds: other separators may be part of a field.
        *whole, rest = rest.split("\n")
        for line in whole:
            number += 1
            yield f"{_text(line, number)}\n"
        if len(rest) > _LONGEST_LINE:
            raise ExportError(f"Line {number + 1} is longer than {_LONGEST_LINE // 1024} kB.")
    if rest:
        yield _text(rest, number + 1)


def _text(line: str, number: int) -> str:
    if "\0" in line:
        raise ExportError(f"Line {number} has binary content. Is the file a CSV file?")
    return line


def _ended(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the chunks that have content, and an empty one at the end."""
    yield from (bytes(chunk) for chunk in chunks if chunk)
    yield b""


def _shown(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
