"""The spool: settlements that a stopping process could not deliver, kept in files.

One settlement a line, as JSON. Celery replays the files; ids make a replay harmless. A row that
the database refuses goes to a `.refused` file, which is never deleted by itself.
"""

import os
from pathlib import Path
from uuid import uuid4

import psycopg
import structlog
from django.conf import settings
from django.db import Error, connection

log = structlog.get_logger(__name__)


def write(rows: list[bytes], *, refused: bool = False) -> Path:
    """Writes settlements (each a JSON object) to a new file of the spool and returns its path.

    The file appears whole or not at all, and is on the disk when this returns.
    """
    folder: Path = settings.SPOOL_DIR
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{uuid4().hex}.{'refused' if refused else 'jsonl'}"
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        file.write(b"\n".join(rows) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    # The name, too, must outlive a power cut.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def replay() -> int:
    """Settles what the spool's files say and deletes them. Returns the number of settlements.

    Two replays at once do no harm. Raises django.db.OperationalError while the database is away;
    the files stay.
    """
    settled = 0
    for path in sorted(settings.SPOOL_DIR.glob("*.jsonl")):
        try:
            rows = path.read_bytes().splitlines()
        except FileNotFoundError:  # Another replay is done with it.
            continue
        for row in rows:
            _settle(row)
            settled += 1
        path.unlink(missing_ok=True)
        log.info("spool_replayed", file=path.name)
    return settled


def _settle(row: bytes) -> None:
    """Settles one row, or keeps it for a person where that can't be."""
    try:
        text = row.replace(b"\\u0000", b"\\ufffd").decode()
        with connection.cursor() as cursor:
            cursor.execute("SELECT code FROM billing_settle(%s::jsonb)", [f"[{text}]"])
            answer = cursor.fetchone()
    except UnicodeDecodeError as error:
        _refuse(row, str(error))
    except Error as error:
        if not isinstance(error.__cause__, psycopg.DataError | psycopg.IntegrityError):
            raise
        _refuse(row, str(error))
    else:
        if answer in {None, ("unknown_reservation",)}:
            _refuse(row, "There is no such reservation.")


def _refuse(row: bytes, why: str) -> None:
    path = write([row], refused=True)
    log.error("settlement_refused", file=path.name, error=why)
