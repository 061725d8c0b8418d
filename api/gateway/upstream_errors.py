"""Failed attempts at an answer: what each kind means for retries, records and the client.

An upstream's refusal of the request is the client's to mend (400); its refusal of our key is our
mistake and never quoted (502).
"""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar, Literal

from api import errors
from api.dialects.base import redacted

Kind = Literal[
    "connect",  # no connection: nothing was sent
    "disconnected",  # the connection ended before an answer
    "busy",  # the upstream's concurrency limit is reached
    "rate_limited",  # the upstream answered 429
    "failed",  # the upstream answered 5xx, 408 or 409
    "unsayable",  # the upstream's dialect can't say what the client asks for: nothing was sent
    "rejected",  # the upstream found an error in the client's request
    "misconfigured",  # the upstream refused our key, redirected, or speaks no dialect that fits
    "bad_answer",  # the answer is not of the dialect
    "incomplete",  # a stream ended before its end
    "error_event",  # a stream reported an error
    "first_token",  # a timer: nothing came in time
    "idle",  # a timer: nothing more came in time
    "total",  # a timer: it took too long as a whole
    "write",  # a timer: the client doesn't read
    "shutdown",  # the process is about to stop
]

MAX_RETRY_AFTER_SECONDS = 600
_RETRYABLE = frozenset(
    {
        "connect",
        "disconnected",
        "busy",
        "rate_limited",
        "failed",
        "misconfigured",
        "first_token",
        "unsayable",
    }
)
# Worth another attempt at the same upstream.
_TRANSIENT = frozenset({"connect", "disconnected", "failed"})
_TIMED_OUT = frozenset({"first_token", "idle", "total"})


class ShuttingDownError(errors.ServiceUnavailableError):
    """This process is about to stop; its successor will answer."""

    code = "server_shutting_down"
    default_message = "The server is restarting. Send the request again."
    default_headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class UpstreamBusyError(errors.RateLimitError):
    """The model's provider accepts no more requests for now."""

    default_message = (
        "The model is under high load. Wait as Retry-After says, then back off exponentially."
    )


class AttemptError(Exception):
    """A failed attempt. `detail` is for our records, `message` for the client.

    `status` is the upstream's HTTP status, or 0. `error` is what the client gets, where it is known
    as more than a message.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        status: int = 0,
        message: str = "",
        param: str | None = None,
        retry_after_seconds: int | None = None,
        error: errors.ApiError | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.kind = kind
        self.detail = detail or kind
        self.status = status
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds
        self.error = error

    @property
    def is_retryable(self) -> bool:
        """Whether another upstream may do better."""
        return self.kind in _RETRYABLE

    @property
    def is_transient(self) -> bool:
        """Whether the same upstream may do better the next moment."""
        return self.kind in _TRANSIENT

    @property
    def is_overload(self) -> bool:
        """Whether it is a sign that the upstream is overloaded."""
        return self.kind in {"rate_limited", "first_token"}

    @property
    def is_upstream_failure(self) -> bool:
        """Whether it counts against the model's health: neither the client's fault nor ours."""
        return self.kind not in {"rejected", "unsayable", "busy", "write", "shutdown"}

    @property
    def outcome(self) -> str:
        """The outcome in the usage record of a request that ended so."""
        if self.kind in _TIMED_OUT:
            return "upstream_timeout"
        if self.kind == "incomplete":
            return "upstream_incomplete"
        if self.kind == "write":
            return "client_stalled"
        if self.kind == "shutdown":
            return "server_shutting_down"
        return "upstream_error"

    def as_error(self) -> errors.ApiError:
        """Return the error for the client."""
        if self.error is not None:
            return self.error
        if self.kind in _TIMED_OUT:
            return errors.UpstreamTimeoutError()
        if self.kind == "shutdown":
            return ShuttingDownError()
        if self.kind == "rejected":
            return errors.InvalidRequestError(self.message or None, param=self.param)
        if self.kind in {"busy", "rate_limited"}:
            return UpstreamBusyError(retry_after_seconds=self.retry_after_seconds or 1)
        return errors.UpstreamError()


_FAILED_STATUSES = frozenset({408, 409, 425})
_MISCONFIGURED_STATUSES = frozenset({401, 402, 403})

ErrorReader = Callable[[bytes], tuple[str, str | None]]


def error_of_status(
    status: int, headers: Mapping[str, str], body: bytes, read_error: ErrorReader
) -> AttemptError:
    """Return the error that an upstream's response of this status is.

    `read_error` is the dialect's reader of error bodies.
    """
    detail = f"HTTP {status}"
    if status == 429:
        return AttemptError(
            "rate_limited", detail, status=status, retry_after_seconds=retry_after_seconds(headers)
        )
    if status >= 500 or status in _FAILED_STATUSES:
        return AttemptError("failed", detail, status=status)
    if status in _MISCONFIGURED_STATUSES or status < 400:
        return AttemptError("misconfigured", detail, status=status)
    message, param = read_error(body)
    message = redacted(message)
    return AttemptError(
        "rejected", f"{detail}: {message}", status=status, message=message, param=param
    )


def retry_after_seconds(headers: Mapping[str, str]) -> int | None:
    """Return the seconds that an upstream asks us to wait (RFC 9110, 10.2.3), at most 600."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    if not math.isfinite(seconds):
        return None
    return max(1, min(math.ceil(seconds), MAX_RETRY_AFTER_SECONDS))
