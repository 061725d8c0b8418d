"""Video jobs, from their upstreams' reports to their one end, in Celery.

Any number of pollers may ask about a job at once, and be killed at any point: one of them ends it
(`ending.py`). A poller that dies before that leaves the job as it was, to be claimed again when its
time comes.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import quote

import httpx
import msgspec
import structlog
from django.conf import settings
from django.db import Error, connection, transaction
from django.utils import timezone

from accounts.encryption import DecryptionError
from api.dialects.base import OpenAiFamily
from api.dialects.error_bodies import redacted
from api.jobs.ending import end_job
from api.models import VideoJob
from api.upstream_hosts import guarded_transport, problem_with
from api.upstream_keys import secret_of
from billing.failpoints import failpoint
from billing.ledger.alerts import raise_alert
from billing.ledger.gate import Settlement
from billing.models import PriceVersion
from billing.pricing.charge import AttemptCost, Line, Usage, charge_of

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
MAX_BYTES = 256 * 1024
MAX_URL = 4_000
FAILED = "The video couldn't be created. You were not charged."

_COMPLETED = frozenset({"completed", "succeeded", "success"})
_FAILED = frozenset({"failed", "fail", "error", "cancelled", "canceled", "expired"})
_DIALECT = OpenAiFamily()

JOBS_A_ROUND = 64
# Calls to upstreams wait most of their time; nothing but the call itself runs in these threads.
THREADS = 16
SLOWEST_POLL_SECONDS = 15
LOST = "The order was lost before the provider confirmed it. You were not charged."
LATE = "The video was not finished in time. You were not charged."

# A claim only moves the next poll, so if the claimer dies, another takes over. The longer a job
# takes, the rarer its polls.
_CLAIM = """
UPDATE api_videojob SET next_poll_at = now() + make_interval(
    secs => greatest(%s, least(%s, extract(epoch FROM now() - created_at)::float8 / 10)))
WHERE id IN (
    SELECT id FROM api_videojob WHERE state = 'processing' AND next_poll_at <= now()
    ORDER BY next_poll_at LIMIT %s FOR UPDATE SKIP LOCKED)
RETURNING id, expires_at <= now()
"""


class JobReport(NamedTuple):
    """What an upstream says of a job. `unknown`: it can't be reached, or says nothing of use."""

    state: Literal["processing", "completed", "failed", "unknown"]
    url: str = ""
    error: str = ""


class JobUpstream:
    """Ask upstreams about jobs, from any number of threads. Use it as a context manager."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            headers={"accept": "application/json", "accept-encoding": "identity"},
            transport=transport or guarded_transport(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def ask(self, job: VideoJob) -> JobReport:
        """Return what the job's upstream says: `unknown` if it can't be asked. Never raise.

        The job's upstream with its keys must be loaded, as these threads have no database
        connection.
        """
        upstream = job.upstream
        if upstream is None or not job.upstream_job_id:
            return JobReport("unknown")
        try:
            key = secret_of(upstream, job.upstream_key)
        except DecryptionError as error:
            log.error("upstream_key_unreadable", upstream=upstream.name, error=str(error))
            return JobReport("unknown")
        problem = problem_with(upstream.base_url)
        if problem:
            log.error("upstream_host_refused", upstream=upstream.name, error=problem)
            return JobReport("unknown")
        url = f"{upstream.base_url}/videos/{quote(job.upstream_job_id, safe='')}"
        headers = {"user-agent": "tollgate", "x-request-id": job.pk.hex}
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                body = _read(response)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            log.warning("video_upstream_silent", job=job.public_id, error=type(error).__name__)
            return JobReport("unknown")
        if response.status_code != 200:
            log.warning("video_upstream_refuses", job=job.public_id, status=response.status_code)
            return JobReport("unknown")
        return read_report(body)


def poll_due(limit: int = JOBS_A_ROUND) -> int:
    """Ask about the jobs whose time has come, up to `limit`. Return how many those were."""
    overdue = _claim(limit)
    if not overdue:
        return 0
    found = VideoJob.objects.filter(pk__in=overdue).select_related("upstream", "upstream_key")
    jobs = list(found.prefetch_related("upstream__keys"))
    for job, report in _reports(jobs):
        failpoint("after_video_poll")
        try:
            conclude(job, report, is_overdue=overdue[job.pk])
        except Error as error:
            log.warning("video_not_ended", job=str(job), error=str(error))
    return len(jobs)


def conclude(job: VideoJob, report: JobReport, *, is_overdue: bool) -> bool:
    """End a job if its upstream's report says so, or it is late. Return whether this call ended it.

    An upstream that can't be reached, or has nothing new, is asked again until the job is overdue;
    a video that is finished is taken even then.
    """
    if report.state == "completed":
        return _end(job, VideoJob.State.COMPLETED, url=report.url)
    if report.state == "failed":
        return _end(job, VideoJob.State.FAILED, error=report.error)
    if not job.upstream_job_id:
        return _end_lost(job)
    if is_overdue:
        return _end(job, VideoJob.State.EXPIRED, error=LATE)
    return False


def _claim(limit: int) -> dict[object, bool]:
    """Return the ids of due jobs and whether each is overdue; others get them only later."""
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [settings.VIDEO_POLL_SECONDS, SLOWEST_POLL_SECONDS, limit])
        return dict(cursor.fetchall())


def _reports(jobs: Sequence[VideoJob]) -> Iterator[tuple[VideoJob, JobReport]]:
    """Yield what the upstreams say of the jobs, as they answer."""
    with JobUpstream() as upstream, ThreadPoolExecutor(THREADS) as threads:
        asked = {threads.submit(upstream.ask, job): job for job in jobs}
        for answer in as_completed(asked):
            yield asked[answer], answer.result()


def _end_lost(job: VideoJob) -> bool:
    """End a job without an upstream's id: its process died before the id was stored."""
    with transaction.atomic():
        is_ended = _end(job, VideoJob.State.FAILED, error=LOST)
        if is_ended:
            raise_alert(
                "video_order_lost",
                str(job.pk),
                f"Order {job.public_id} of {job.model} was lost before the upstream's answer was"
                " kept. The upstream may bill it; the customer was not charged.",
            )
    return is_ended


def _end(job: VideoJob, state: VideoJob.State, *, url: str = "", error: str = "") -> bool:
    """End a job and settle it. Return whether it had not ended before."""
    settlement = _settlement(job, state, error)
    receipt = end_job(VideoJob, job.pk, settlement, state=state, url=url, error=error)
    if receipt is None:
        return False
    log.info(
        "video_ended",
        job=job.public_id,
        state=state.value,
        settlement=receipt.code,
        charged_nanos=receipt.charged_nanos,
    )
    return True


def _settlement(job: VideoJob, state: VideoJob.State, error: str) -> Settlement:
    """Return the settlement: the ordered price for a finished video, nothing for any other."""
    is_finished = state == VideoJob.State.COMPLETED
    outcome, status = {
        VideoJob.State.COMPLETED: ("completed", 200),
        VideoJob.State.FAILED: ("upstream_error", 502),
        VideoJob.State.EXPIRED: ("upstream_timeout", 504),
    }[state]
    latency = (timezone.now() - job.created_at).total_seconds() * 1000
    return Settlement(
        lines=tuple(_lines(job)) if is_finished else (),
        cost_lines=_cost_lines(job) if is_finished else [],
        request_id=job.pk.hex,
        account_id=job.account_id,
        key_id=job.key_id,
        price_version_id=job.price_version_id,
        model=job.model,
        surface=job.surface,
        endpoint="videos_generations",
        outcome=outcome,
        status=status,
        upstream=job.upstream.name if job.upstream is not None else "",
        upstream_request_id=job.upstream_job_id,
        end_user=job.end_user,
        pieces=1 if is_finished else 0,
        seconds=job.seconds if is_finished else 0,
        units_nanos=job.cost_nanos if is_finished else 0,
        upstream_cost_nanos=job.upstream_cost_nanos if is_finished else 0,
        source="upstream" if is_finished else "none",
        error=error,
        attempts=job.attempts,
        latency_ms=min(max(0, int(latency)), 2**31 - 1),
    )


def _lines(job: VideoJob) -> Sequence[Line]:
    """Return the lines of the ordered price, from its version and contract: these never change."""
    version = PriceVersion.objects.filter(pk=job.price_version_id).first()
    if version is None:
        return ()
    rates = job.contract.applied_to(version.rates) if job.contract else version.rates
    charge = charge_of(rates, Usage(pieces=1, seconds=job.seconds))
    return charge.lines if charge.total_nanos == job.cost_nanos else ()


def _cost_lines(job: VideoJob) -> list[AttemptCost]:
    """Return what the upstream charges for the video, by the cost in force at the order."""
    if job.route_cost is None or job.upstream is None:
        return []
    cost = charge_of(job.route_cost.rates, Usage(pieces=1, seconds=job.seconds))
    if cost.total_nanos != job.upstream_cost_nanos:
        return []
    name, version = job.upstream.name, job.route_cost.pk
    return [AttemptCost(name, version, cost.total_nanos, cost.lines)]


def read_report(body: bytes) -> JobReport:
    """Return what an upstream's answer says."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return JobReport("unknown")
    if not isinstance(answer, dict):
        return JobReport("unknown")
    status = str(answer.get("status") or answer.get("task_status") or "").lower()
    if status in _COMPLETED:
        url = _url(answer)
        return JobReport("completed", url=url) if url else JobReport("failed", error=FAILED)
    if status in _FAILED:
        message = redacted(_DIALECT.read_error(body)[0]) if "error" in answer else ""
        return JobReport("failed", error=message or FAILED)
    return JobReport("processing" if status else "unknown")


def _url(answer: dict[str, Any]) -> str:
    """Return the video's address, at one of the places where upstreams put it, or nothing."""
    places = [answer]
    for name in ("video_result", "data"):
        items = answer.get(name)
        if isinstance(items, list):
            places += [item for item in items[:1] if isinstance(item, dict)]
    for place in places:
        for name in ("video_url", "url"):
            url = place.get(name)
            if isinstance(url, str) and url.startswith(("https://", "http://")):
                return url if len(url) <= MAX_URL and "\0" not in url else ""
    return ""


def _read(response: httpx.Response) -> bytes:
    """Return the body as it came. Raise ValueError for one that is too long or takes too long."""
    ends_at = time.monotonic() + READ_SECONDS
    body = b""
    for part in response.iter_raw():
        body += part
        if len(body) > MAX_BYTES or time.monotonic() > ends_at:
            raise ValueError("the answer is too long")
    return body
