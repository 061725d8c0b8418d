"""Outcomes of requests, worded for the customer who paid for them.

The ledger's outcomes are worded for operators. Upstreams' error messages are not shown, since they
may contain host and account names.
"""

from dataclasses import dataclass, replace

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from billing.models import UsageRecord


@dataclass(frozen=True)
class Outcome:
    """An outcome's label, the badge's style, and a sentence that explains it."""

    label: str | Promise
    badge: str
    text: str | Promise


_OUTCOMES = {
    "completed": Outcome(_("Completed"), "good", _("The answer was delivered in full.")),
    "empty": Outcome(_("Empty"), "warn", _("The model returned an empty answer.")),
    "client_closed": Outcome(
        _("Canceled"),
        "",
        _("Your program closed the connection, and generation was stopped if possible."),
    ),
    "client_stalled": Outcome(
        _("Not read"),
        "warn",
        _("Your program stopped reading the answer."),
    ),
    "upstream_error": Outcome(
        _("Failed"), "bad", _("The model's provider failed or rejected the request.")
    ),
    "upstream_timeout": Outcome(
        _("Timed out"),
        "bad",
        _("The model's provider did not start or continue its answer in time."),
    ),
    "upstream_incomplete": Outcome(
        _("Incomplete"), "bad", _("The answer was cut off before it was complete.")
    ),
    "server_shutting_down": Outcome(
        _("Interrupted"), "bad", _("The service restarted while the answer was being generated.")
    ),
    "internal_error": Outcome(
        _("Failed"), "bad", _("An internal error occurred. You were not charged.")
    ),
    "insufficient_quota": Outcome(
        _("Cut off"), "bad", _("Your credits didn't cover more of the answer.")
    ),
    "budget_exceeded": Outcome(
        _("Cut off"), "bad", _("The API key's budget didn't cover more of the answer.")
    ),
    "max_cost_reached": Outcome(
        _("Cut off"), "bad", _("The answer reached the request's maximum cost.")
    ),
    "service_unavailable": Outcome(
        _("Interrupted"), "bad", _("Credits for more of the answer couldn't be reserved.")
    ),
    "expired": Outcome(
        _("Expired"),
        "bad",
        _("The server stopped before it could settle the request. The reservation was released."),
    ),
}
IN_PROGRESS = Outcome(_("In progress"), "accent", _("The request is still running."))


# What is charged for unsuccessful requests, if anything.
_CHARGED = {
    "empty": _("Its input was charged because the model's provider bills it."),
    "client_closed": _("The prompt and what had been generated were charged."),
}
_CHARGED_IN_PART = _("The prompt and what had been delivered were charged.")
_FREE = _("You were not charged.")


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
