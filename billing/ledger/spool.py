"""The spool: settlements that did not reach the ledger in time, kept in files.

One settlement per line, as JSON. Celery replays the files; ids make a replay harmless. A row that
the database refuses for its own values goes to a `.refused` file, which is never deleted
automatically; one that fails for another reason stays where it is, and is tried again.
"""

import asyncio
import os
import socket
import time
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from billing.ledger.group_commit import LedgerUnavailableError, RowResult, is_refusal, without_nul

log = structlog.get_logger(__name__)

# Fractions of SETTLE_WAIT_SECONDS: copies are on the disk before answers stop waiting for their
# settlement.
COPY_AFTER = 0.7
TICKS = 10
RETRY_SECONDS = 30

# Failures that staff have not been alerted to yet, since the database was away as well.
_failures: list[str] = []


def folders() -> list[Path]:
    """Return the spool's folders in the order in which they are tried."""
    spares = [settings.SPOOL_FALLBACK_DIR] if settings.SPOOL_FALLBACK_DIR else []
    return [settings.SPOOL_DIR, *spares]


def write(rows: list[bytes], *, refused: bool = False) -> Path:
    """Write settlements (each a JSON object) to a new file of the spool and return its path.

    The file appears whole or not at all, and is on the disk when this returns. If a folder fails,
    try the next; `raise_pending_alert` then alerts staff. Raise OSError if all fail: the rows are
    in the log.
    """
    name = f"{uuid4().hex}.{'refused' if refused else 'jsonl'}"
    last_error: OSError | None = None
    for folder in folders():
        try:
            return _write(folder / name, rows)
        except OSError as error:
            last_error = error
            _failures.append(f"{folder}: {error}")
            log.error("spool_folder_failed", folder=str(folder), error=str(error), rows=len(rows))
    for row in rows:
        log.error("settlement_not_spooled", row=row.decode(errors="replace"))
    raise last_error or OSError("the spool has no folder")


def _write(path: Path, rows: list[bytes]) -> Path:
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".draft")
    try:
        with draft.open("wb") as file:
            file.write(b"\n".join(rows) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    # The name, too, must outlive a power cut.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def raise_pending_alert() -> None:
    """Alert staff to failures since the last call, if any: once per hour and host."""
    failures = _failures[:]
    if not failures:
        return
    # The models can't be imported yet when the gate is: the ASGI application sets Django up later.
    from billing.ledger.alerts import raise_alert  # noqa: PLC0415

    hour = datetime.now(UTC).strftime("%Y-%m-%d %Hh")
    detail = (
        f"Settlements could not be written to the spool ({'; '.join(sorted(set(failures)))})."
        " Those that no folder accepted are in the log as settlement_not_spooled."
    )
    raise_alert("spool_failed", f"{socket.gethostname()} {hour}", detail)
    del _failures[: len(failures)]


class Watched(NamedTuple):
    """A queued settlement: the row, its answer, and when it was queued (monotonic seconds)."""

    row: bytes
    answer: asyncio.Future[Any]
    queued_at: float


class OverdueCopies:
    """Copies of settlements that wait for the ledger longer than answers wait for them.

    A killed process leaves them in the spool. A living one keeps trying, and deletes a file once
    the ledger has all of its rows. `watched` is the queue, oldest first; the gate appends to it.
    """

    def __init__(self) -> None:
        self.watched: deque[Watched] = deque()
        self._copied: set[bytes] = set()
        # In the log only: no folder accepted them. They wait for the next attempt.
        self._unwritten: list[Watched] = []
        self._task: asyncio.Task[None] | None = None
        self._is_ledger_back = False
        self._retry_at = 0.0

    def open(self) -> None:
        """Start watching for overdue settlements."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop, and wait for a file being written."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def without_copy(self, rows: list[bytes]) -> list[bytes]:
        """Return the rows without a copy in the spool."""
        return [row for row in rows if row not in self._copied]

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(settings.SETTLE_WAIT_SECONDS / TICKS)
            overdue = self._overdue()
            if overdue:
                # After a cancellation, too, it must be known whether there is a copy.
                writing = asyncio.ensure_future(self._copy(overdue))
                try:
                    await asyncio.shield(writing)
                except asyncio.CancelledError:
                    await writing
                    raise
            if _failures and self._is_ledger_back:
                self._is_ledger_back = False
                await asyncio.to_thread(_raise_pending_alert_in_thread)

    def _overdue(self) -> list[Watched]:
        """Return overdue settlements, and forget those that have ended.

        One that no folder accepted delays no other: each is in the log, at least, once it is due.
        """
        watched, now = self.watched, time.monotonic()
        if self._unwritten and now >= self._retry_at:
            watched.extendleft(reversed(self._unwritten))
            self._unwritten = []
        queued_by = now - settings.SETTLE_WAIT_SECONDS * COPY_AFTER
        overdue = []
        while watched and (watched[0].answer.done() or watched[0].queued_at < queued_by):
            if watched[0].answer.done():
                ended = watched.popleft().answer
                self._is_ledger_back = not ended.cancelled() and ended.exception() is None
            else:
                overdue.append(watched.popleft())
        return overdue

    async def _copy(self, overdue: list[Watched]) -> None:
        rows = [watched.row for watched in overdue]
        try:
            path = await asyncio.to_thread(write, rows)
        except OSError:
            # The rows are in the log; the disk may have room later.
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._unwritten += overdue
            return
        log.warning("settlements_spooled", rows=len(rows), file=path.name)
        self._copied.update(rows)
        waiting = set(rows)

        def ended(row: bytes, answer: asyncio.Future[RowResult]) -> None:
            if answer.cancelled() or isinstance(answer.exception(), LedgerUnavailableError):
                return  # the gate was closed
            self._is_ledger_back = True
            waiting.discard(row)
            self._copied.discard(row)
            if not waiting:
                asyncio.get_running_loop().run_in_executor(None, _remove, path)

        for watched in overdue:
            watched.answer.add_done_callback(partial(ended, watched.row))


def _remove(path: Path) -> None:
    with suppress(OSError):  # It is then replayed, which changes nothing.
        path.unlink(missing_ok=True)


def _raise_pending_alert_in_thread() -> None:
    try:
        raise_pending_alert()
    except Error as error:
        log.warning("spool_alert_not_raised_yet", error=str(error))
    finally:
        connection.close()


def replay() -> int:
    """Settle the rows of the spool's files and delete them. Return the number of settlements.

    Concurrent replays are harmless. A file with a row that can't be settled now stays, and delays
    no other: its settled rows are repeats the next time. Raise django.db.OperationalError while the
    database is away; the files stay.
    """
    settled = 0
    for path in sorted(path for folder in folders() for path in folder.glob("*.jsonl")):
        try:
            rows = path.read_bytes().splitlines()
        except FileNotFoundError:  # Another replay has deleted it.
            continue
        ended = sum(_settle(row) for row in rows)
        settled += ended
        if ended < len(rows):
            continue
        path.unlink(missing_ok=True)
        log.info("spool_replayed", file=path.name)
    raise_pending_alert()
    return settled


def _settle(row: bytes) -> bool:
    """Settle one row, or keep it for a person. Return whether the spool is done with it.

    Raise django.db.OperationalError and InterfaceError while the database is away.
    """
    try:
        text = without_nul(row).decode()
        with connection.cursor() as cursor:
            cursor.execute("SELECT code FROM billing_settle(%s::jsonb)", [f"[{text}]"])
            answer = cursor.fetchone()
    except UnicodeDecodeError as error:
        return _refuse(row, str(error))
    except (OperationalError, InterfaceError):
        raise
    except Error as error:
        if not is_refusal(error.__cause__):
            log.warning("settlement_not_replayed_yet", error=str(error))
            return False
        return _refuse(row, str(error))
    else:
        if answer in {None, ("unknown_reservation",)}:
            return _refuse(row, "There is no such reservation.")
    return True


def _refuse(row: bytes, why: str) -> bool:
    """Keep a row for a person. Return False if that fails, so that its file stays."""
    try:
        path = write([row], refused=True)
    except OSError:
        return False
    log.error("settlement_refused", file=path.name, error=why)
    return True
