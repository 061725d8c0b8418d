"""CSV for spreadsheets: streamed batch by batch, with formulas in user input disarmed."""

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Iterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

Cell = str | int | None
Row = list[Cell]

# Spreadsheets run text that begins like this as a formula, except a number, whatever its sign.
_SIGNS = r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(rf"\s*{_SIGNS}|[\t\r\n]")
# In locales with decimal commas, spreadsheets split lines at semicolons or tabs, so the text after
# one may become a cell of its own, which our quotes don't enclose.
_FORMULA_WITHIN = re.compile(rf"([;\t]\s*)(?={_SIGNS})")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def guarded(cell: object) -> object:
    """Return the cell, with an apostrophe before any text that a spreadsheet would run."""
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell):
        return cell
    text = _FORMULA_WITHIN.sub(r"\1'", cell)
    return f"'{text}" if _FORMULA.match(cell) else text


def csv_response(name: str, header: Row, batches: Iterator[list[Row]]) -> StreamingHttpResponse:
    """Return the download of a CSV file; `batches` are queried one after the other.

    The file is written while it is read: an iterator that is not asynchronous would be collected
    whole first.
    """
    response = StreamingHttpResponse(
        _text_of(header, batches), content_type="text/csv; charset=utf-8"
    )
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response["Cache-Control"] = "no-store"
    return response


async def _text_of(header: Row, batches: Iterator[list[Row]]) -> AsyncIterator[bytes]:
    yield csv_lines([header])
    next_batch = sync_to_async(lambda: next(batches, None))
    while (rows := await next_batch()) is not None:
        yield csv_lines(rows)


def csv_lines(rows: Iterable[Iterable[object]]) -> bytes:
    """Return the rows as lines of CSV."""
    lines = io.StringIO()
    csv.writer(lines).writerows([guarded(cell) for cell in row] for row in rows)
    return lines.getvalue().encode()
