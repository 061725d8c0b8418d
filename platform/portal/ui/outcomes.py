"""Outcomes of requests, worded for the customer who paid for them.

The ledger's word for an outcome is the operator's; what upstreams said stays with the operator,
since it may name hosts and accounts.
"""

from dataclasses import dataclass, replace

from billing.models import UsageRecord


@dataclass(frozen=True)
class Outcome:
    """An outcome's label, the badge it goes on, and a sentence about it."""

    label: str
    badge: str
    text: str


_OUTCOMES = {
    "completed": Outcome("Completed", "good", "The answer was delivered in full."),
    "empty": Outcome("Empty", "warn", "The model answered with nothing."),
    "client_closed": Outcome(
        "Cancelled",
        "",
        "Your program closed the connection, and the model was stopped where that is possible.",
    ),
    "client_stalled": Outcome(
        "Not read",
        "warn",
        "Your program stopped reading the answer.",
    ),
    "upstream_error": Outcome(
        "Failed", "bad", "The model's provider failed or refused the request."
    ),
    "upstream_timeout": Outcome(
        "Timed out", "bad", "The model's provider did not answer, or did not go on, in time."
    ),
    "upstream_incomplete": Outcome("Incomplete", "bad", "The answer broke off before its end."),
    "server_shutting_down": Outcome(
        "Interrupted", "bad", "The service was restarted while the answer was under way."
    ),
    "internal_error": Outcome("Failed", "bad", "The service made a mistake. It costs nothing."),
    "expired": Outcome(
        "Expired",
        "bad",
        "The process that served the request ended before it could settle it. What was held is "
        "available again.",
    ),
}
IN_PROGRESS = Outcome("In progress", "accent", "The request has not ended yet.")


# What is charged of requests that did not end well, where anything is.
_CHARGED = {
    "empty": "Its input was charged, as the model's provider bills it.",
    "client_closed": "The prompt and what had been generated were charged.",
}
_CHARGED_IN_PART = "The prompt and what had been delivered were charged."
_FREE = "You were not charged."


def outcome_of(record: UsageRecord) -> Outcome:
    """Return the record's outcome in words; one without words is shown as it is called.

    Of one that did not end well it says whether it was charged, as the client was told.
    """
    known = _OUTCOMES.get(record.outcome)
    if known is None:
        return Outcome(record.outcome.replace("_", " ").capitalize(), "bad", "")
    if record.outcome in {"completed", "expired", "internal_error"}:
        return known
    charged = _CHARGED.get(record.outcome, _CHARGED_IN_PART)
    return replace(known, text=f"{known.text} {charged if record.charged_nanos else _FREE}")


def reported_error(record: UsageRecord) -> str:
    """Return the error's text if the customer's program received it too, else nothing."""
    is_theirs = 400 <= record.status < 499 or record.endpoint == "videos_generations"
    return record.error if is_theirs else ""
