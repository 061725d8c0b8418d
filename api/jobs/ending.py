"""The one end of a job, whichever worker finds it."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models.functions import Now

from accounts.webhooks.events import EventType, publish
from api.models import ChatJob, VideoJob
from billing.ledger import postings
from billing.ledger.gate import Settlement, SettlementResult
from billing.pricing.money import dollars_text


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
        result = postings.settle(settlement)
        _publish_end(kind.objects.get(pk=job_id), result)
    return result


def _publish_end(job: ChatJob | VideoJob, result: SettlementResult) -> None:
    is_completed = job.state == job.State.COMPLETED
    publish(
        job.team_id,
        EventType.JOB_COMPLETED if is_completed else EventType.JOB_FAILED,
        {
            "job_id": job.public_id,
            "request_id": str(job.pk),
            "object": "chat" if isinstance(job, ChatJob) else "video",
            "model": job.model,
            "state": str(job.state),
            "error": job.error or None,
            "cost_usd": dollars_text(result.charged_nanos),
        },
    )
