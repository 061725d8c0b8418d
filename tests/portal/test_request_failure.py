"""The page of a failed request says why, what arrived, what it cost and whether to retry."""

import re
from typing import Any

import pytest
from django.test import Client

from billing.models import UsageRecord
from portal.usage.failures import failure_of, reason_text
from tests.billing.ledger_calls import Customer
from tests.portal.serving import serve


def facts_of(browser: Client, record: UsageRecord) -> dict[str, str]:
    """Return the facts under "What happened"."""
    page = browser.get(f"/usage/requests/{record.request_id}").content.decode()
    card = page.partition("What happened</h2>")[2].partition("</section>")[0]
    pairs = re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", card)
    return {name: re.sub(r"<[^>]+>", "", text) for name, text in pairs}


@pytest.mark.django_db
def test_a_stream_that_broke_off_says_what_arrived_and_what_it_cost(
    browser: Client, customer: Customer
) -> None:
    record = serve(
        customer,
        outcome="upstream_incomplete",
        status=200,
        source="estimated",
        first_token_ms=120,
        input_tokens=10,
        output_tokens=412,
        input_nanos=7000,
        error="the stream ended without [DONE] or finish reason",
        attempts=[{"upstream": "u", "status": 0, "ms": 3, "error": "the answer broke off: eof"}],
    )
    assert facts_of(browser, record) == {
        "Error code": "upstream_error",
        "Provider’s reason": "The provider closed the connection before the answer was complete.",
        "Delivered": "About 412 output tokens",
        "Charged": "$0.000007",
        "Retry": "A retry may succeed. Wait a moment and back off if it fails again.",
    }


@pytest.mark.django_db
def test_a_completed_request_has_nothing_to_explain(browser: Client, customer: Customer) -> None:
    assert facts_of(browser, serve(customer, output_nanos=5)) == {}


@pytest.mark.parametrize(
    ("record", "code", "retry"),
    [
        ({"outcome": "upstream_timeout", "status": 504}, "upstream_timeout", "may succeed"),
        ({"outcome": "upstream_error", "status": 502}, "upstream_error", "may succeed"),
        ({"outcome": "upstream_error", "status": 429}, "rate_limit_exceeded", "may succeed"),
        ({"outcome": "upstream_error", "status": 400}, "", "will fail again"),
        ({"outcome": "insufficient_quota", "status": 402}, "insufficient_quota", "Buy credits"),
        ({"outcome": "budget_exceeded", "status": 402}, "budget_exceeded", "Raise the key"),
        ({"outcome": "service_unavailable", "status": 503}, "service_unavailable", "may succeed"),
        ({"outcome": "server_shutting_down", "status": 503}, "server_shutting_down", "may succeed"),
        ({"outcome": "client_closed", "status": 499}, "", "Nothing failed"),
        ({"outcome": "empty", "status": 200}, "", "max_tokens"),
    ],
)
def test_the_outcome_says_whether_a_retry_helps(
    record: dict[str, Any], code: str, retry: str
) -> None:
    failure = failure_of(UsageRecord(first_token_ms=None, **record))
    assert failure
    assert (failure.code, retry in failure.retry) == (code, True)
    assert failure.delivered == "Nothing"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        ("HTTP 503: overloaded", "The provider returned 503: overloaded"),
        ("HTTP 503", "The provider returned 503."),
        (
            "HTTP 500: host db1.internal.example.com:5432 and 10.0.0.5 for ops@example.com",
            "The provider returned 500: host … and … for …",
        ),
        ("HTTP 401: bad key", "The provider rejected our own credentials or settings."),
        ("timed out: first_token", "sent nothing within the time limit"),
        ("no connection: ConnectError http://10.0.0.5:9000/v1", "couldn't connect"),
        ("an event of the stream is not Anthropic's", "answer was invalid"),
        ("", ""),
    ],
)
def test_an_upstreams_reason_is_shown_without_what_is_ours(error: str, text: str) -> None:
    shown = reason_text(error)
    assert text in shown
    for ours in ("10.0.0.5", "example.com", "bad key"):
        assert ours not in shown
