"""Alerts for staff, and the runbook that says what to do about each kind."""

from typing import Literal, NamedTuple

import structlog

from billing.models import LedgerAlert

log = structlog.get_logger(__name__)

# The columns' lengths.
LONGEST_REFERENCE = 200
_LONGEST_DETAIL = 500

Severity = Literal["critical", "warning"]


class RunbookLine(NamedTuple):
    """What a kind of alert means, and what to do about it.

    `critical` means that money or the books may be wrong now; a `warning` can wait until the
    morning.
    """

    severity: Severity
    meaning: str
    action: str


# Printed in platform/docs/operations.md; a test keeps the two equal and finds kinds without a line.
RUNBOOK: dict[str, RunbookLine] = {
    "invariant": RunbookLine(
        "critical",
        "an invariant of the ledger is broken",
        "run `manage.py check_ledger`; change no balance by hand before the cause is known",
    ),
    "spool_failed": RunbookLine(
        "critical",
        "settlements could be stored neither in the database nor in the spool",
        "free disk space or repair the mount; if a process was killed meanwhile, settle the rows "
        "in the log (`settlement_not_spooled`)",
    ),
    "written_off": RunbookLine(
        "critical",
        "a request cost more than the customer's balance covered; the rest was written off",
        "compare the model's bounds (context, `tokens_per_image`) with what its upstream reports",
    ),
    "hold_overrun": RunbookLine(
        "warning",
        "a request cost more than was held for it; the balance covered it",
        "raise the model's `tokens_per_image`, set `hides_reasoning` if it bills reasoning that it "
        "doesn't stream, or check what its upstream reports",
    ),
    "usage_rejected": RunbookLine(
        "warning",
        "an upstream reported figures that can't be true: negative, beyond the model's row, or a "
        "prompt above what was sent (charged at its bound); at most one alert an hour, model and "
        "upstream",
        "compare the row's context, output limit and tokens per image with the provider's; the "
        "figures are kept with the request's attempts",
    ),
    "below_cost": RunbookLine(
        "warning",
        "a model's price is below what one of its routes costs, component by component; one alert "
        "for each pair of a price and a cost",
        "change the price, or disable the route",
    ),
    "route_ejected": RunbookLine(
        "warning",
        "a route failed five times in a row, or half of its calls, and is left alone for a while; "
        "the model's other routes take its requests; at most one alert an hour, route and key",
        "read why and for how long (admin, *Route ejections*; the upstream's words are with the "
        "requests' attempts), *Test* the upstream, and fix or drain it",
    ),
    "video_order_lost": RunbookLine(
        "warning",
        "a video's order was lost with its process: the upstream may bill it, the customer was not "
        "charged",
        "look for the order at the upstream, and dispute its charge there",
    ),
    "payment_mismatch": RunbookLine(
        "critical",
        "a payment doesn't match its order (amount, currency, mode, order), or an order was paid "
        "twice; nothing was credited",
        "look at the payment in Stripe; refund it there, or correct the balance (`adjust`)",
    ),
    "stripe_event": RunbookLine(
        "critical",
        "an event has failed eight times; it is retried once an hour",
        "read its outcome (admin, *Stripe events*), fix the cause, *Handle again*",
    ),
    "reconciliation": RunbookLine(
        "critical",
        "Stripe's balance and the books differ, or the books and the ledger",
        "if a payment is missing from the books, handle its event again; otherwise compare Stripe "
        "and the admin by the ids in the alert",
    ),
    "refund_of_nothing": RunbookLine(
        "warning",
        "a refund was made in Stripe's dashboard for a payment that had already been refunded",
        "look at both in Stripe",
    ),
    "subscription_duplicate": RunbookLine(
        "warning",
        "a team subscribed twice at once; the second subscription was cancelled, its payment was "
        "not refunded",
        "refund that payment in Stripe",
    ),
    "subscription_price": RunbookLine(
        "warning",
        "a subscription was moved to an unknown price in Stripe; the plan is unchanged",
        "move it to a known price in Stripe",
    ),
    "dispute_part_reinstated": RunbookLine(
        "warning",
        "Stripe reinstated only part of a disputed payment, which is booked",
        "decide about the team's keys (*Handle…*); correct nothing by hand",
    ),
    "alert_target_failing": RunbookLine(
        "critical",
        "alerts don't reach one of their targets",
        "read its last error (admin, *Alert targets*), correct the address or the secret, and send "
        "a test alert",
    ),
    "test": RunbookLine(
        "warning",
        "staff sent a test alert to one target",
        "nothing",
    ),
}
_UNKNOWN = RunbookLine("critical", "an alert without a runbook line", "read its detail")


def runbook_line(kind: str) -> RunbookLine:
    """Return the runbook's line for a kind, or a line that says it has none."""
    return RUNBOOK.get(kind, _UNKNOWN)


def raise_alert(kind: str, reference: str, detail: str) -> bool:
    """Alert staff, once per kind and reference. Return whether the alert is new.

    Celery sends it to the alert targets within seconds (`portal/alerts/`).
    """
    _, is_new = LedgerAlert.objects.get_or_create(
        kind=kind, reference=reference, defaults={"detail": detail[:_LONGEST_DETAIL]}
    )
    if is_new:
        log.error("ledger_alert", kind=kind, reference=reference, detail=detail)
    return is_new
