"""Failed attempts at an answer: what each kind means for retries, records and the client.

An upstream's refusal of the request is the client's to mend (400) and quoted. What is wrong with
our route (its key, its quota, its model's name) is ours to mend: it is never quoted (502), another
route is tried, and staff read of it in the log.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar, Literal

from api import errors
from api.dialects.base import DialectError
from api.dialects.error_bodies import ErrorReport, redacted
from api.phrases import Phrase
from billing.pricing.money import dollars_short_text

Kind = Literal[
    "connect",  # no connection: nothing was sent
    "disconnected",  # the connection ended before an answer
    "busy",  # the upstream's concurrency limit is reached
    "rate_limited",  # the upstream answered 429
    "failed",  # the upstream answered 5xx, 408 or 409
    "unsayable",  # the upstream's dialect can't say what the client asks for: nothing was sent
    "rejected",  # the upstream found an error in the client's request
    "misconfigured",  # the route's fault: key, quota, model's name, redirect, no dialect that fits
    "bad_answer",  # the answer is not of the dialect
    "incomplete",  # a stream ended before its end
    "error_event",  # a stream reported an error
    "first_token",  # a timer: nothing came in time
    "idle",  # a timer: nothing more came in time
    "total",  # a timer: it took too long as a whole
    "write",  # a timer: the client doesn't read
    "unfunded",  # the hold could not grow with the answer
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
        "bad_answer",
        "incomplete",
        "error_event",
        "first_token",
        "idle",
        "unsayable",
    }
)
# For staff to mend: the upstream would go on failing.
_ROUTE_FAULTS = frozenset({"misconfigured", "bad_answer"})
# Refusals by key: of one that is revoked or used up, or that may not use the model.
_KEY_FAULTS = frozenset({"busy", "rate_limited", "misconfigured"})
# Worth another attempt at the same upstream.
_TRANSIENT = frozenset({"connect", "disconnected", "failed"})
_TIMED_OUT = frozenset({"first_token", "idle", "total"})
# Ended by us or for the client: the upstream was at work, and bills what it did.
_ENDED_BY_US = frozenset({"total", "write", "shutdown", "unfunded"})


class ShuttingDownError(errors.ServiceUnavailableError):
    """This process is about to stop; its successor will answer."""

    code = "server_shutting_down"
    default_message = "The server is restarting. You were not charged; send the request again."
    template = (
        "The server is restarting and ended the answer. You were charged {} for what was "
        "delivered; send the request again."
    )
    default_headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class CreditsUsedUpError(errors.InsufficientQuotaError):
    """The balance pays for no more of an answer that has begun."""

    default_message = "The answer ends here: your credits don't cover more of it. Buy credits."
    template = (
        "The answer ends here: your credits don't cover more of it. You were charged {} for what "
        "was delivered. Buy credits, and send the request again."
    )


class BudgetUsedUpError(errors.BudgetExceededError):
    """The key's budget pays for no more of an answer that has begun."""

    default_message = "The answer ends here: the API key's budget doesn't cover more of it."
    template = (
        "The answer ends here: the API key's budget doesn't cover more of it. You were charged {} "
        "for what was delivered. Raise the budget or wait for its next period."
    )


class HoldLostError(errors.ServiceUnavailableError):
    """The ledger can't be asked for more of the hold, or has ended it."""

    default_message = "The service is temporarily unavailable, and the answer ends here. Try again."
    template = (
        "The service is temporarily unavailable, and the answer ends here. You were charged {} for "
        "what was delivered; send the request again."
    )


class UpstreamBusyError(errors.RateLimitError):
    """The model's provider accepts no more requests for now."""

    default_message = (
        "The model is under high load. Wait for the time in Retry-After, then back off "
        "exponentially."
    )
    team_share_message = Phrase(
        "Your team's running requests use its full share of this model's capacity. Retry after the "
        "time in Retry-After, or once some of them have finished."
    )

    @classmethod
    def for_wait(cls, wait_seconds: int, is_full: bool = True) -> "UpstreamBusyError":
        """Return the error of a call without a place; unless `is_full`, other teams would get one.

        There is likely a place in `wait_seconds`.
        """
        message = None if is_full else cls.team_share_message
        return cls(message, retry_after_seconds=wait_seconds)


class AttemptError(Exception):
    """A failed attempt. `detail` is for our records, `message` for the client.

    `status` is the upstream's HTTP status, or 0, and `code` its own name for the error. `error` is
    what the client gets, where it is known as more than a message, and `ending` the class of what
    it gets where an answer was cut.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        status: int = 0,
        message: str = "",
        param: str | None = None,
        code: str = "",
        retry_after_seconds: int | None = None,
        error: errors.ApiError | None = None,
        ending: type[errors.ApiError] | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.kind = kind
        self.detail = detail or kind
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds
        self.error = error
        self.ending = ending
        self.prompt_tokens = self.most_tokens = 0

    def note_context(self, likely_tokens: int, most_tokens: int) -> None:
        """Note by how much a prompt is too long: as the upstream says, or as we think."""
        said = sorted(int(figure.replace(",", "")) for figure in _FIGURES.findall(self.message))
        if len(said) >= 2 and said[-1] > said[-2]:
            self.prompt_tokens, self.most_tokens = said[-1], said[-2]
        else:
            self.prompt_tokens = max(likely_tokens, most_tokens + 1)
            self.most_tokens = most_tokens

    @property
    def is_retryable(self) -> bool:
        """Whether another upstream may do better."""
        return self.kind in _RETRYABLE

    @property
    def is_transient(self) -> bool:
        """Whether the same upstream may do better the next moment."""
        return self.kind in _TRANSIENT

    @property
    def is_route_fault(self) -> bool:
        """Whether staff must mend the route or talk to its provider."""
        return self.kind in _ROUTE_FAULTS

    @property
    def is_key_fault(self) -> bool:
        """Whether another key of the same upstream may do better."""
        return self.kind in _KEY_FAULTS

    @property
    def is_upstream_break(self) -> bool:
        """Whether the upstream ended the answer, so that its operator's rule says what it costs."""
        return self.kind not in _ENDED_BY_US

    @property
    def was_under_way(self) -> bool:
        """Whether the call was ended from this side, and so may be billed by the upstream."""
        return self.kind in _ENDED_BY_US or self.kind in _TIMED_OUT

    @property
    def is_overload(self) -> bool:
        """Whether it is a sign that the upstream is overloaded."""
        return self.kind in {"rate_limited", "first_token"}

    @property
    def is_upstream_failure(self) -> bool:
        """Whether it counts against the model's health: neither the client's fault nor ours."""
        return self.kind not in {
            "rejected",
            "unsayable",
            "busy",
            "write",
            "shutdown",
            "unfunded",
        }

    @property
    def counts_against_route(self) -> bool:
        """Whether it counts towards the route's ejection: another route may do better."""
        return self.kind in _RETRYABLE and self.kind not in {"busy", "unsayable"}

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
        if self.ending is not None:
            return self.ending.code
        return "upstream_error"

    def as_error(self, charged_nanos: int = 0) -> errors.ApiError:
        """Return the error for the client, which says what was charged for a part of the answer."""
        if self.error is not None:
            return self.error
        if self.kind in _TIMED_OUT:
            return _told(errors.UpstreamTimeoutError, charged_nanos)
        if self.ending is not None:
            return _told(self.ending, charged_nanos)
        if self.kind == "shutdown":
            return _told(ShuttingDownError, charged_nanos)
        if self.kind == "rejected":
            if self.code == errors.ContextLengthError.code:
                return errors.ContextLengthError(
                    self.message or None,
                    param=self.param,
                    prompt_tokens=self.prompt_tokens,
                    most_tokens=self.most_tokens,
                )
            return errors.InvalidRequestError(self.message or None, param=self.param)
        if self.kind in {"busy", "rate_limited"}:
            return UpstreamBusyError(retry_after_seconds=self.retry_after_seconds or 1)
        return _told(errors.UpstreamError, charged_nanos)


def _told(kind: type[errors.ApiError], charged_nanos: int) -> errors.ApiError:
    if not charged_nanos:
        return kind()
    return kind(Phrase(kind.template, f"${dollars_short_text(charged_nanos)}"))


_FAILED_STATUSES = frozenset({408, 409, 425})
# Our key, our balance, our path and our name for the model are no concern of the client's.
_MISCONFIGURED_STATUSES = frozenset({401, 402, 403, 404, 405, 410})
_ROUTE_CODES = re.compile(
    r"(?i)insufficient_(quota|balance|credit)|billing|quota_exceeded|invalid_api_key"
    r"|api_key_invalid|authentication_error|permission_(denied|error)|model_not_found"
    r"|model_(deprecated|not_supported|decommissioned)"
)
_ROUTE_MESSAGES = re.compile(
    r"(?i)\bapi[ _-]?key\b|current quota|insufficient (balance|credit|fund|quota)"
    r"|model .{0,80}(does not exist|not found|has been (retired|deprecated))"
)
_FIGURES = re.compile(r"\b\d[\d,]{2,}\b")
_CONTEXT_MESSAGES = re.compile(
    r"(?i)maximum context length|context[ _]length[ _]exceeded|exceeds? the (model's )?context"
    r"|prompt is too long"
)

# What the errors mean that come within an answer by name alone (Anthropic's and OpenAI's types).
_STATUSES = {
    "context_length_exceeded": 400,
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "insufficient_quota": 429,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "server_is_overloaded": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
}

ErrorReader = Callable[[bytes], ErrorReport]


def error_of_status(
    status: int, headers: Mapping[str, str], body: bytes, read_error: ErrorReader
) -> AttemptError:
    """Return the error that an upstream's response of this status is.

    `read_error` is the dialect's reader of error bodies.
    """
    return _error_of(status, headers, read_error(body))


def error_of_answer(failure: DialectError) -> AttemptError:
    """Return the error that an answer is which reports one, in a stream or with status 200.

    Where it has a name that upstreams otherwise give with a status, it is what that status says.
    """
    report = failure.report
    code = report.code.lower() if report is not None else ""
    status = _STATUSES.get(code) or (int(code) if re.fullmatch("[45][0-9][0-9]", code) else 0)
    if report is None or not status:
        return AttemptError(failure.kind, failure.detail)
    return _error_of(status, {}, report)


def _error_of(status: int, headers: Mapping[str, str], report: ErrorReport) -> AttemptError:
    message = redacted(report.message)
    detail = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if _is_route_fault(status, report):
        return AttemptError("misconfigured", detail, status=status)
    if status == 429:
        return AttemptError(
            "rate_limited", detail, status=status, retry_after_seconds=retry_after_seconds(headers)
        )
    if status >= 500 or status in _FAILED_STATUSES:
        return AttemptError("failed", detail, status=status)
    code = report.code
    if _CONTEXT_MESSAGES.search(report.message):
        code = errors.ContextLengthError.code
    return AttemptError(
        "rejected", detail, status=status, message=message, param=report.param, code=code
    )


def _is_route_fault(status: int, report: ErrorReport) -> bool:
    """Return whether a refusal is about our route rather than about the client's request.

    Some providers refuse a key with 400, and a used-up quota with 429.
    """
    if status < 400 or status in _MISCONFIGURED_STATUSES:
        return True
    if status >= 500:
        return False
    if status == 429:
        # Many tell of a rate as of a quota; the code alone says that waiting won't help.
        return report.code.lower() in {"insufficient_quota", "billing_hard_limit_reached"}
    return bool(_ROUTE_CODES.search(report.code) or _ROUTE_MESSAGES.search(report.message))


def retry_after_seconds(headers: Mapping[str, str]) -> int | None:
    """Return the seconds that an upstream asks us to wait, at most 600.

    `retry-after` is RFC 9110's (10.2.3), `retry-after-ms` OpenAI's and Azure's.
    """
    text = headers.get("retry-after", "")
    milliseconds = headers.get("retry-after-ms", "")
    try:
        seconds = float(milliseconds) / 1000 if milliseconds else float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    if not math.isfinite(seconds):
        return None
    return max(1, min(math.ceil(seconds), MAX_RETRY_AFTER_SECONDS))
