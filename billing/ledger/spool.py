"""The spool: settlements that a stopping process could not deliver, kept in files.

One settlement a line, as JSON. Celery replays the files; ids make a replay harmless. A row that
the database refuses for its own values goes to a `.refused` file, which is never deleted by itself;
one that fails for another reason stays where it is, and is tried again.
"""

import os
from pathlib import Path
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from billing.ledger.group_commit import is_refusal

log = structlog.get_logger(__name__)


def write(rows: list[bytes], *, refused: bool = False) -> Path:
    """Write settlements (each a JSON object) to a new file of the spool and return its path.

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
    """Settle what the spool's files say and delete them. Return the number of settlements.

    Two replays at once do no harm. A file with a row that can't be settled now stays, and holds up
    no other: its settled rows are repeats the next time. Raise django.db.OperationalError while the
    database is away; the files stay.
    """
    settled = 0
    for path in sorted(settings.SPOOL_DIR.glob("*.jsonl")):
        try:
            rows = path.read_bytes().splitlines()
        except FileNotFoundError:  # Another replay is done with it.
            continue
        ended = sum(_settle(row) for row in rows)
        settled += ended
        if ended < len(rows):
            continue
        path.unlink(missing_ok=True)
        log.info("spool_replayed", file=path.name)
    return settled


def _settle(row: bytes) -> bool:
    """Settle one row, or keep it for a person where that can't be. Return whether it is done with.

    Raise django.db.OperationalError and InterfaceError while the database is away.
    """
    try:
        text = row.replace(b"\\u0000", b"\\ufffd").decode()
        with connection.cursor() as cursor:
            cursor.execute("SELECT code FROM billing_settle(%s::jsonb)", [f"[{text}]"])
            answer = cursor.fetchone()
    except UnicodeDecodeError as error:
        _refuse(row, str(error))
    except (OperationalError, InterfaceError):
        raise
    except Error as error:
        if not is_refusal(error.__cause__):
            log.warning("settlement_not_replayed_yet", error=str(error))
            return False
        _refuse(row, str(error))
    else:
        if answer in {None, ("unknown_reservation",)}:
            _refuse(row, "There is no such reservation.")
    return True


def _refuse(row: bytes, why: str) -> None:
    path = write([row], refused=True)
    log.error("settlement_refused", file=path.name, error=why)
