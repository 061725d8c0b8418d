"""CSV for spreadsheets: streamed batch by batch, and without formulas that others wrote."""

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Iterator

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse

Cell = str | int | None
Row = list[Cell]

# A spreadsheet runs a text that begins so as a formula; a number is none, whatever its sign.
_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def guarded(cell: object) -> object:
    """Return the cell, with an apostrophe before a text that a spreadsheet would run."""
    if isinstance(cell, str) and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


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
    yield _lines([header])
    next_batch = sync_to_async(lambda: next(batches, None))
    while (rows := await next_batch()) is not None:
        yield _lines(rows)


def _lines(rows: Iterable[Row]) -> bytes:
    lines = io.StringIO()
    csv.writer(lines).writerows([guarded(cell) for cell in row] for row in rows)
    return lines.getvalue().encode()
