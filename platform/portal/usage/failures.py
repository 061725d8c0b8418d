"""What a request's page explains of its attempts, and of a failure: reason, charge, what to do.

Upstreams' messages are stored without keys and URLs. Of these, customers see what concerns their
request or the model's load: no host, address or account, and nothing about our own credentials.
"""

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.formats import whole_text
from api import errors
from billing.models import UsageRecord

_HOSTS = re.compile(
    r"(?i)https?://\S+|\S+@\S+|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?\b|\[[0-9a-f:]+\]"
    r"|\b(?:[a-z0-9-]+\.)+[a-z]{2,}(?::\d+)?\b|\blocalhost(?::\d+)?"
)
_STATUS = re.compile(r"HTTP (\d{3})(?:: (.*))?", re.S)
_OUR_STATUSES = {401, 402, 403, 404, 405, 410}
_LONGEST_REASON = 300

# Reasons by how their record begins or what it has (api/gateway writes them).
_REASONS = (
    (r"timed out: first_token", gettext_lazy("The provider sent nothing within the time limit.")),
    (r"timed out: idle", gettext_lazy("The provider stopped sending in the middle of the answer.")),
    (r"timed out: total", gettext_lazy("The answer took longer than the time limit.")),
    (r"timed out", gettext_lazy("The provider didn't respond in time.")),
    (r"no connection|connection refused", gettext_lazy("We couldn't connect to the provider.")),
    (
        r"broke off|stream ended|connection (was )?closed|no answer|incomplete|disconnected",
        gettext_lazy("The provider closed the connection before the answer was complete."),
    ),
    (
        r"error event|reports an error|finish_reason: error",
        gettext_lazy("The provider reported an error."),
    ),
    (
        r"no room|calls are under way",
        gettext_lazy("The provider had no capacity for another request."),
    ),
    (
        r"the hold was not extended: insufficient",
        gettext_lazy("Your credits didn't cover more of the answer."),
    ),
    (
        r"the hold was not extended: budget",
        gettext_lazy("The API key's budget didn't cover more of the answer."),
    ),
    (
        r"the hold was|no extension",
        gettext_lazy("Credits for more of the answer couldn't be reserved."),
    ),
    (r"no route", gettext_lazy("No provider was available for this model.")),
)
_OTHER = gettext_lazy("The provider's answer was invalid.")

_RETRY = gettext_lazy("A retry may succeed. Wait a moment and back off if it fails again.")
_CHANGE = gettext_lazy("A retry will fail again unless you change the request.")
_RETRIES = {
    "client_closed": gettext_lazy(
        "Nothing failed: send the request again if you still need the answer."
    ),
    "client_stalled": gettext_lazy(
        "A retry may succeed if your program reads the stream without long pauses."
    ),
    "insufficient_quota": gettext_lazy("Buy credits, and send the request again."),
    "budget_exceeded": gettext_lazy("Raise the key's budget, or wait for its next period."),
    "max_cost_reached": gettext_lazy("Raise the request's maximum cost."),
    "empty": gettext_lazy(
        "A retry may succeed. A larger max_tokens leaves room for an answer after reasoning."
    ),
}
_CODES = {
    "upstream_timeout": errors.UpstreamTimeoutError.code,
    "upstream_incomplete": errors.UpstreamError.code,
    "server_shutting_down": "server_shutting_down",
    "internal_error": "internal_error",
    "insufficient_quota": errors.InsufficientQuotaError.code,
    "budget_exceeded": errors.BudgetExceededError.code,
    "max_cost_reached": "max_cost_reached",
    "service_unavailable": errors.ServiceUnavailableError.code,
}


@dataclass(frozen=True)
class Failure:
    """Why a request failed, in words. `code` is the API error's code; empty if not recorded."""

    code: str
    reason: str
    delivered: str
    retry: str


@dataclass(frozen=True)
class Attempt:
    """One call of a provider, without details that only concern the operator."""

    number: int
    text: str
    badge: str
    latency_ms: int
    reason: str = ""


def failure_of(record: UsageRecord) -> Failure | None:
    """Return the explanation of a request that was not completed; None for one that was."""
    if record.outcome == "completed":
        return None
    return Failure(
        code=_code_of(record),
        reason=_reason_of(record),
        delivered=_delivered(record),
        retry=str(_RETRIES.get(record.outcome, _CHANGE if _is_refusal(record) else _RETRY)),
    )


def reason_text(error: str) -> str:
    """Return an attempt's recorded error as customers may read it; empty for none."""
    if not error:
        return ""
    if found := _STATUS.match(error):
        status, message = int(found[1]), found[2] or ""
        if status in _OUR_STATUSES:
            return _(
                "The provider rejected our own credentials or settings. We have been notified."
            )
        if not message:
            return _("The provider returned {status}.").format(status=status)
        return _("The provider returned {status}: {message}").format(
            status=status, message=_safe(message)
        )
    known = (text for pattern, text in _REASONS if re.search(pattern, error, re.I))
    return str(next(known, _OTHER))


def _safe(message: str) -> str:
    """Return a message without hosts, addresses and emails."""
    return _HOSTS.sub("…", message)[:_LONGEST_REASON]


def _code_of(record: UsageRecord) -> str:
    if record.outcome != "upstream_error":
        return _CODES.get(record.outcome, "")
    if record.status == errors.RateLimitError.status:
        return errors.RateLimitError.code
    return "" if _is_refusal(record) else errors.UpstreamError.code


def _reason_of(record: UsageRecord) -> str:
    """Return the upstream's reason, empty where the upstream had no part in it."""
    if not record.outcome.startswith("upstream"):
        return ""
    if _is_refusal(record) and not _STATUS.match(record.error):
        return _safe(record.error)
    return reason_text(record.error)


def _delivered(record: UsageRecord) -> str:
    """Return what of the answer reached the client."""
    if record.images or record.pieces:
        made = record.images or record.pieces
        text = ngettext("{number} video", "{number} videos", made)
        if record.images:
            text = ngettext("{number} image", "{number} images", made)
        return text.format(number=whole_text(made))
    if record.first_token_ms is None:
        return _("Nothing")
    if tokens := record.output_tokens:
        text = ngettext("{number} output tokens", "{number} output tokens", tokens)
        if record.source == UsageRecord.Source.ESTIMATED:
            text = ngettext("About {number} output tokens", "About {number} output tokens", tokens)
        return text.format(number=whole_text(tokens))
    return _("The beginning of the answer")


def _is_refusal(record: UsageRecord) -> bool:
    """Return whether the request itself was refused, so that it would be refused again."""
    return 400 <= record.status < 500 and record.status not in {408, 409, 425, 429, 499}


def attempt_of(number: int, made: dict[str, object], *, has_begun: bool = False) -> Attempt:
    """Return an attempt in words, without the provider's name and error message.

    `has_begun` says that it delivered a part of the answer.
    """
    status = made.get("status")
    milliseconds = made.get("ms")
    error = str(made.get("error") or "")
    reason = reason_text(error)
    # An answer that could not be used is an answer; "no answer" is said where nothing came.
    if status == 200 and not error:
        text, badge = _("Answered"), "good"
    elif has_begun or status == 200:
        text, badge = _("Interrupted"), "bad"
    elif status == 429:
        text, badge = _("Too busy (429)"), "warn"
    elif isinstance(status, int) and status >= 400:
        text = _("Failed ({status})") if status >= 500 else _("Rejected ({status})")
        text, badge = text.format(status=status), "bad"
    elif error in {"the client disconnected", "the client left"}:  # the latter until 2026-11
        text, badge, reason = _("You disconnected"), "", ""
    elif re.match("no (connection|answer)|timed out|the connection", error):
        text, badge = _("No answer"), "bad"
    else:
        text, badge = _("Failed"), "bad"
    took = milliseconds if isinstance(milliseconds, int) else 0
    return Attempt(number, text, badge, took, reason)
