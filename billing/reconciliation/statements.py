"""Upstreams' statements: upload, mapping of columns, comparison, confirmation of corrections.

A file is stored in parts when it is uploaded and read by Celery, in one transaction with the
comparison: a worker that dies has changed nothing, and the next run begins again.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery import shared_task
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Count, Q, Sum
from django.utils import timezone

from accounts.models import User
from accounts.staff_actions import log_for_staff
from billing.failpoints import failpoint
from billing.models import StatementChunk, UpstreamStatement
from billing.payments.manual_postings import needs_approval
from billing.reconciliation import corrections, export_file, matching
from billing.reconciliation.columns import propose_columns, propose_unit
from billing.reconciliation.export_file import ExportError, Mapping, Preview

log = structlog.get_logger(__name__)

State = UpstreamStatement.State
ABANDONED_AFTER = timedelta(days=7)
_CHUNK_BYTES = 1024 * 1024


class StatementError(Exception):
    """A step that can't be taken; the message is for staff. Nothing was changed."""


class Sums:
    """The corrections of a statement that wait for a person: how many, and in nano-dollars."""

    def __init__(self, count: int, credited_nanos: int, charged_nanos: int) -> None:
        self.count = count
        self.credited_nanos = credited_nanos
        self.charged_nanos = charged_nanos

    @property
    def moved_nanos(self) -> int:
        """What moves in either direction."""
        return self.credited_nanos + self.charged_nanos


def upload(
    user: User, upstream: str, file_name: str, size_bytes: int, parts: Callable[[], Iterable[bytes]]
) -> tuple[UpstreamStatement, bool]:
    """Store a file and return its statement, and whether it is new.

    The same file of the same upstream is one statement. `parts` yields the content, each time it
    is called. Raise StatementError for a file that is too large or has no header.
    """
    if size_bytes > settings.STATEMENT_MAX_BYTES:
        megabytes = settings.STATEMENT_MAX_BYTES // 1024**2
        raise StatementError(f"The file is larger than {megabytes} MB. Export a shorter period.")
    digest = hashlib.sha256()
    for part in parts():
        digest.update(part)
    try:
        header = export_file.preview(parts()).header
    except ExportError as error:
        raise StatementError(str(error)) from None
    with transaction.atomic():
        statement, is_new = UpstreamStatement.objects.get_or_create(
            upstream=upstream,
            digest=digest.hexdigest(),
            defaults={
                "file_name": file_name[:200],
                "size_bytes": size_bytes,
                "uploaded_by": user,
                **_proposal(upstream, header),
            },
        )
        if is_new:
            for number, data in enumerate(_chunks(parts())):
                StatementChunk.objects.create(statement=statement, number=number, data=data)
            log_for_staff(user, statement, f"uploaded {file_name[:200]}")
    return statement, is_new


def header_of(statement: UpstreamStatement) -> Preview:
    """Return the header of an uploaded file and its first lines. Raise ExportError."""
    return export_file.preview(_stored(statement))


def start(statement: UpstreamStatement, user: User, mapping: Mapping, cost_unit: str) -> None:
    """Have Celery read the file by this mapping. Raise StatementError if it was read before."""
    with transaction.atomic():
        statement = _locked(statement)
        if statement.state not in (State.UPLOADED, State.FAILED):
            raise StatementError("This file was read already.")
        statement.columns = mapping.columns
        statement.cost_unit, statement.unit_nanos = cost_unit, mapping.unit_nanos
        statement.cached_is_separate = mapping.cached_is_separate
        statement.error, statement.state = "", State.QUEUED
        statement.save()
        log_for_staff(user, statement, "columns confirmed")
        _queue()


def compare_again(statement: UpstreamStatement, user: User) -> None:
    """Have Celery compare the statement with the current records. Raise StatementError."""
    with transaction.atomic():
        statement = _locked(statement)
        if statement.state != State.READY:
            raise StatementError("This statement is not compared yet.")
        statement.state = State.QUEUED
        statement.save(update_fields=["state"])
        log_for_staff(user, statement, "compared again")
        _queue()


def discard(statement: UpstreamStatement, user: User) -> None:
    """Delete a statement and its lines. Raise StatementError if anything was corrected by it."""
    with transaction.atomic():
        statement = _locked(statement)
        if statement.state in (State.QUEUED, State.CORRECTING):
            raise StatementError("This statement is being worked on. Try again in a minute.")
        if statement.corrections.exists():
            raise StatementError("Corrections were posted by this statement, so it stays.")
        log_for_staff(user, statement, "discarded")
        statement.delete()


def open_corrections(statement: UpstreamStatement) -> Sums:
    """Return the sums of the corrections that could be posted."""
    found = statement.lines.filter(correction__in=["open", "uncovered"]).aggregate(
        count=Count("pk"),
        credited=Sum("correction_nanos", filter=Q(correction_nanos__gt=0), default=0),
        charged=Sum("correction_nanos", filter=Q(correction_nanos__lt=0), default=0),
    )
    return Sums(found["count"], found["credited"], -found["charged"])


def confirm(
    statement: UpstreamStatement, user: User, *, compared_at: datetime, reason: str
) -> None:
    """Have Celery post the corrections as they were compared at `compared_at`.

    Above STAFF_APPROVAL_DOLLARS in either direction, another person than the one who uploaded the
    file must confirm them. Raise StatementError.
    """
    if not reason.strip():
        raise StatementError("Enter a reason. It is kept with the statement.")
    with transaction.atomic():
        statement = _locked(statement)
        if statement.state != State.READY or statement.compared_at != compared_at:
            raise StatementError("The statement has changed meanwhile. Look at it again.")
        sums = open_corrections(statement)
        if not sums.count:
            raise StatementError("There is nothing to correct.")
        if needs_approval(sums.moved_nanos) and statement.uploaded_by_id == user.pk:
            raise StatementError(
                "Another member of staff than the one who uploaded the file must confirm this."
            )
        statement.lines.filter(correction="uncovered").update(correction="open")
        statement.state, statement.reason = State.CORRECTING, reason.strip()[:300]
        statement.confirmed_by, statement.confirmed_at = user, timezone.now()
        statement.save()
        log_for_staff(user, statement, f"{sums.count} corrections confirmed: {statement.reason}")
        _queue()


def process(statement: UpstreamStatement) -> bool:
    """Do the work that a statement waits for. Return False if there is none, or another has it."""
    if statement.state == State.CORRECTING:
        return _correct(statement)
    with transaction.atomic():
        found = UpstreamStatement.objects.select_for_update(skip_locked=True)
        claimed = found.filter(pk=statement.pk, state=State.QUEUED).first()
        if claimed is None:
            return False
        try:
            with transaction.atomic():
                _compare(claimed)
        except ExportError as error:
            claimed.refresh_from_db()
            claimed.state, claimed.error = State.FAILED, str(error)
        claimed.save()
    log.info("statement_compared", statement=str(claimed.pk), state=claimed.state)
    return True


@shared_task
def process_statements() -> int:
    """Do what statements wait for, and delete uploads nobody confirmed. Return how many were due.

    A database error leaves a statement to the next run; a bug fails it. Safe to run twice, late or
    concurrently.
    """
    due = UpstreamStatement.objects.filter(state__in=[State.QUEUED, State.CORRECTING])
    done = 0
    for statement in due.order_by("created_at"):
        try:
            done += process(statement)
        except DatabaseError as error:
            log.warning("statement_not_processed", statement=str(statement.pk), error=str(error))
        except Exception:
            log.exception("statement_failed", statement=str(statement.pk))
            UpstreamStatement.objects.filter(pk=statement.pk, state=State.QUEUED).update(
                state=State.FAILED, error="Reading failed because of a bug. It was logged."
            )
    UpstreamStatement.objects.filter(
        state__in=[State.UPLOADED, State.FAILED], created_at__lt=timezone.now() - ABANDONED_AFTER
    ).delete()
    return done


def _queue() -> None:
    """Have Celery do the work after the commit; if the queue is away, its next run does."""
    transaction.on_commit(process_statements.delay, robust=True)


def _compare(statement: UpstreamStatement) -> None:
    """Read the file, unless it was read before, and compare. Raise ExportError."""
    if statement.compared_at is None:
        mapping = Mapping(statement.columns, statement.unit_nanos, statement.cached_is_separate)
        lines = export_file.read(_stored(statement), mapping)
        matching.store_lines(statement, lines)
        statement.chunks.all().delete()
    matching.compare(statement)
    failpoint("in_comparison")
    corrections.plan(statement)
    statement.state, statement.compared_at = State.READY, timezone.now()


def _correct(statement: UpstreamStatement) -> bool:
    user = statement.confirmed_by
    if user is not None:
        count = corrections.post_open(statement, user)
        log.info("usage_corrected", statement=str(statement.pk), count=count)
    return bool(
        UpstreamStatement.objects.filter(
            pk=statement.pk, state=State.CORRECTING, confirmed_at=statement.confirmed_at
        ).update(state=State.READY)
    )


def _locked(statement: UpstreamStatement) -> UpstreamStatement:
    """Return the row, locked. Raise StatementError where it is gone, or a worker has it."""
    found = UpstreamStatement.objects.select_for_update(skip_locked=True)
    locked = found.filter(pk=statement.pk).first()
    if locked is None:
        raise StatementError("This statement is being worked on. Try again in a minute.")
    return locked


def _proposal(upstream: str, header: list[str]) -> dict[str, Any]:
    """Return the mapping of the upstream's last statement, or what the header suggests."""
    earlier = UpstreamStatement.objects.filter(upstream=upstream, compared_at__isnull=False)
    last = earlier.order_by("-created_at").first()
    if last is not None and set(last.columns.values()) <= {*header, ""}:
        return {
            "columns": last.columns,
            "cost_unit": last.cost_unit,
            "unit_nanos": last.unit_nanos,
            "cached_is_separate": last.cached_is_separate,
        }
    columns = propose_columns(header)
    return {"columns": columns, "cost_unit": propose_unit(columns.get("cost", ""))}


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content again in chunks of up to _CHUNK_BYTES."""
    rest = b""
    for part in parts:
        rest += part
        while len(rest) >= _CHUNK_BYTES:
            yield rest[:_CHUNK_BYTES]
            rest = rest[_CHUNK_BYTES:]
    if rest:
        yield rest


def _stored(statement: UpstreamStatement) -> Iterator[bytes]:
    """Yield the stored file, one query for each chunk."""
    number = 0
    while data := _chunk(statement, number):
        yield data
        number += 1


def _chunk(statement: UpstreamStatement, number: int) -> bytes:
    found = StatementChunk.objects.filter(statement=statement, number=number)
    data = found.values_list("data", flat=True).first()
    return bytes(data) if data is not None else b""
