"""The one end of a job, whichever worker finds it."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from api.models import ChatJob, VideoJob
from billing.ledger import postings
from billing.ledger.gate import Settlement, SettlementResult


def end_job(
    kind: type[ChatJob] | type[VideoJob], job_id: UUID, settlement: Settlement, **ending: Any
) -> SettlementResult | None:
    """End a job and settle it, in one transaction. Return None if it had already ended.

    `ending` are the columns to write, among them the new `state`. Of any number of workers, one
    wins the guarded update and settles; the others change nothing.
    """
    with transaction.atomic():
        processing = kind.objects.filter(pk=job_id, state=kind.State.PROCESSING)
        if not processing.update(**ending, ended_at=Now()):
            return None
        return postings.settle(settlement)
