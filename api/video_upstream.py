"""How an upstream says that a video is coming along: one GET, read with care.

Celery asks here, so the client is httpx's synchronous one. As in the relay: no proxy from the
environment, no redirects, addresses from staff's rows only, and never more read than is needed.
"""

import os
import time
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import quote

import httpx
import msgspec
import structlog

from api.models import VideoJob
from api.relay.refusals import told

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
MAX_BYTES = 256 * 1024
MAX_URL = 4_000
FAILED = "The video could not be made. You were not charged."

_COMPLETED = frozenset({"completed", "succeeded", "success"})
_FAILED = frozenset({"failed", "fail", "error", "cancelled", "canceled", "expired"})


class News(NamedTuple):
    """What an upstream says of a job. `unknown`: it can't be reached, or says nothing of use."""

    state: Literal["processing", "completed", "failed", "unknown"]
    url: str = ""
    error: str = ""


class VideoUpstream:
    """Asks upstreams, from as many threads as like to. Use it as a context manager."""

    def __init__(self, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            headers={"accept": "application/json", "accept-encoding": "identity"},
            transport=transport,
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

    def ask(self, job: VideoJob) -> News:
        """Returns what the job's upstream says. Never raises: who can't be asked says nothing.

        Expects the job's upstream to be loaded, as no thread of ours has a database connection.
        """
        upstream = job.upstream
        if upstream is None or not job.upstream_job_id:
            return News("unknown")
        url = f"{upstream.base_url}/videos/{quote(job.upstream_job_id, safe='')}"
        headers = {"user-agent": "tollgate", "x-request-id": job.pk.hex}
        key = os.environ.get(upstream.api_key_env) if upstream.api_key_env else None
        if key:
            headers["authorization"] = f"Bearer {key}"
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                body = _read(response)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            log.warning("video_upstream_silent", job=job.public_id, error=type(error).__name__)
            return News("unknown")
        if response.status_code != 200:
            log.warning("video_upstream_refuses", job=job.public_id, status=response.status_code)
            return News("unknown")
        return read_news(body)


def read_news(body: bytes) -> News:
    """Returns what an upstream's answer says."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return News("unknown")
    if not isinstance(answer, dict):
        return News("unknown")
    status = str(answer.get("status") or answer.get("task_status") or "").lower()
    if status in _COMPLETED:
        url = _url(answer)
        return News("completed", url=url) if url else News("failed", error=FAILED)
    if status in _FAILED:
        message = told(body)[0] if "error" in answer else ""
        return News("failed", error=message or FAILED)
    return News("processing" if status else "unknown")


def _url(answer: dict[str, Any]) -> str:
    """Returns the video's address, at one of the places where upstreams put it, or nothing."""
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
    """Returns the body as it came. Raises ValueError for one that is too long or takes too long."""
    ends_at = time.monotonic() + READ_SECONDS
    body = b""
    for part in response.iter_raw():
        body += part
        if len(body) > MAX_BYTES or time.monotonic() > ends_at:
            raise ValueError("the answer is too long")
    return body
