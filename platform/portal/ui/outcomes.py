"""Outcomes of requests, worded for the customer who paid for them.

The ledger's outcomes are worded for operators. Upstreams' error messages are not shown, since they
may contain host and account names.
"""

from dataclasses import dataclass, replace

from billing.models import UsageRecord


@dataclass(frozen=True)
class Outcome:
    """An outcome's label, the badge's style, and a sentence that explains it."""

    label: str
    badge: str
    text: str


_OUTCOMES = {
    "completed": Outcome("Completed", "good", "The answer was delivered in full."),
    "empty": Outcome("Empty", "warn", "The model returned an empty answer."),
    "client_closed": Outcome(
        "Canceled",
        "",
        "Your program closed the connection, and generation was stopped if possible.",
    ),
    "client_stalled": Outcome(
        "Not read",
        "warn",
        "Your program stopped reading the answer.",
    ),
    "upstream_error": Outcome(
        "Failed", "bad", "The model's provider failed or rejected the request."
    ),
    "upstream_timeout": Outcome(
        "Timed out", "bad", "The model's provider did not start or continue its answer in time."
    ),
    "upstream_incomplete": Outcome(
        "Incomplete", "bad", "The answer was cut off before it was complete."
    ),
    "server_shutting_down": Outcome(
        "Interrupted", "bad", "The service restarted while the answer was being generated."
    ),
    "insufficient_quota": Outcome(
        "Cut off", "bad", "Your credits didn't cover more of the answer."
    ),
    "budget_exceeded": Outcome(
        "Cut off", "bad", "The API key's budget didn't cover more of the answer."
    ),
    "service_unavailable": Outcome(
        "Interrupted", "bad", "Credits for more of the answer couldn't be reserved."
    ),
    "internal_error": Outcome("Failed", "bad", "An internal error occurred. You were not charged."),
    "expired": Outcome(
        "Expired",
        "bad",
        "The server stopped before it could settle the request. The reservation was released.",
    ),
}
IN_PROGRESS = Outcome("In progress", "accent", "The request is still running.")


# What is charged for unsuccessful requests, if anything.
_CHARGED = {
    "empty": "Its input was charged because the model's provider bills it.",
    "client_closed": "The prompt and what had been generated were charged.",
}
_CHARGED_IN_PART = "The prompt and what had been delivered were charged."
_FREE = "You were not charged."


def outcome_of(record: UsageRecord) -> Outcome:
    """Return the record's outcome in words; an unknown one is shown under its own name.

    For an unsuccessful request, the text says whether it was charged, as the client was told.
    """
    known = _OUTCOMES.get(record.outcome)
    if known is None:
        return Outcome(record.outcome.replace("_", " ").capitalize(), "bad", "")
    if record.outcome in {"completed", "expired", "internal_error"}:
        return known
    charged = _CHARGED.get(record.outcome, _CHARGED_IN_PART)
    return replace(known, text=f"{known.text} {charged if record.charged_nanos else _FREE}")


def reported_error(record: UsageRecord) -> str:
    """Return the error's text if it was also sent to the client, else an empty string."""
    is_theirs = 400 <= record.status < 499 or record.endpoint == "videos_generations"
    return record.error if is_theirs else ""
