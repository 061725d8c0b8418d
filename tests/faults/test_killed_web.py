"""kill -9 of the web process at each step of a request (reliability.md, faults 1 to 3)."""

from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import TOTAL_SECONDS, reservations
from tests.stack import Stack, chat, eventually

# Where the process dies, and whether the request's charge is durable by then.
POINTS = {
    "after_admit": False,
    "after_dispatch": False,
    "after_first_byte": False,
    "after_upstream_end": False,
    "sent_billing_settle": None,  # the statement may have been committed or not
    "after_settle": True,
}
COST_NANOS = 2 * 700 + 20 * 2_500


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("point", POINTS)
def test_a_killed_request_is_charged_at_most_once_and_its_hold_ends(
    start_stack: Callable[..., Stack], point: str, stream: bool
) -> None:
    if point == "after_first_byte" and not stream:
        pytest.skip("a plain answer has no first byte before its end")
    stack = start_stack()
    key = stack.customer("killed@example.com", "1")
    stack.web.stop()
    stack.start_web(TOLLGATE_FAILPOINT=point)
    body = chat(stream=stream, simulate="tokens=20&pace_ms=5", max_tokens=50)
    with pytest.raises(httpx.TransportError), stack.client(key) as client:
        client.post("/chat/completions", json=body)
    stack.web.stop()
    stack.start_web()
    stack.start_worker()

    eventually(
        lambda: "open" not in reservations(stack),
        seconds=TOTAL_SECONDS + 15,
        what="the hold did not end",
    )
    assert len(reservations(stack)) == 1
    charges = stack.sql("SELECT amount_nanos FROM billing_transfer WHERE kind = 'usage'")
    assert charges in ([], [(COST_NANOS,)])
    durable = POINTS[point]
    if durable is not None:
        assert bool(charges) == durable
    balance = stack.balance("killed@example.com")
    assert balance["held_nanos"] == 0
    assert balance["posted_nanos"] == 1_000_000_000 - sum(amount for (amount,) in charges)
    # The service goes on.
    with stack.client(key) as client:
        assert client.post("/chat/completions", json=chat()).status_code == 200
