"""kill -9 of the web process at each step of a request (reliability.md, faults 1 to 3)."""

import itertools
from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import ACCOUNTS_OF, TOTAL_SECONDS, reservations
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("web", "SIGKILL at each step of a request or a video order")

# Where the process dies, and whether the request's charge is durable by then (None: either).
POINTS = {
    "after_admit": False,
    "after_dispatch": False,
    "after_first_byte": False,
    "sent_billing_extend": False,
    "after_upstream_end": False,
    "sent_billing_settle": None,
    "after_settle": True,
}
CASES = [
    (point, stream)
    for point in POINTS
    for stream in (False, True)
    # A plain answer's first byte leaves after its settlement, and its hold doesn't grow.
    if stream or point not in {"after_first_byte", "sent_billing_extend"}
]
# More text than a stream's first hold pays for.
LONG = "tokens=500&pace_ms=5"
CREDIT_NANOS = 1_000_000_000
COST_NANOS = 2 * 700 + 20 * 2_500


def email(point: str, stream: bool) -> str:
    return f"killed-{point}-{'stream' if stream else 'plain'}@example.com".replace("_", "-")


@pytest.fixture(scope="module")
def aftermath(stack_with: Callable[..., Stack]) -> Stack:
    """A stack whose web process was killed at every point, a customer each, and then swept."""
    stack = stack_with()
    keys = {case: stack.customer(email(*case), "1") for case in CASES}
    for point, cases in itertools.groupby(CASES, lambda case: case[0]):
        stack.kill_web()
        stack.start_web(TOLLGATE_FAILPOINT=point)
        for case in cases:  # the second is served, and killed, by the process that came after
            body = chat(stream=case[1], simulate="tokens=20&pace_ms=5", max_tokens=50)
            if point == "sent_billing_extend":
                body |= {"simulate": LONG, "max_tokens": 128_000}
            with pytest.raises(httpx.TransportError), stack.client(keys[case]) as client:
                client.post("/chat/completions", json=body)
    stack.kill_web()
    stack.start_web()
    stack.start_worker()
    with recovery():
        eventually(
            lambda: "open" not in reservations(stack),
            seconds=TOTAL_SECONDS + 30,
            what="a hold did not end",
        )
    return stack


@pytest.mark.parametrize(("point", "stream"), CASES)
def test_a_killed_request_is_charged_at_most_once_and_its_hold_ends(
    aftermath: Stack, point: str, stream: bool
) -> None:
    charges = aftermath.sql(
        "SELECT amount_nanos FROM billing_transfer"
        f" WHERE kind = 'usage' AND customer_id IN {ACCOUNTS_OF}",
        email(point, stream),
    )
    assert charges in ([], [(COST_NANOS,)])
    if POINTS[point] is not None:
        assert bool(charges) == POINTS[point]
    balance = aftermath.balance(email(point, stream))
    assert balance["held_nanos"] == 0
    assert balance["posted_nanos"] == CREDIT_NANOS - sum(amount for (amount,) in charges)


def test_every_killed_request_is_recorded_with_its_reason(aftermath: Stack) -> None:
    records = aftermath.sql(
        "SELECT r.state, u.outcome, u.error <> '' FROM billing_reservation r"
        " JOIN billing_usagerecord u ON u.request_id = r.id"
        f" WHERE r.account_id IN {ACCOUNTS_OF}",
        "killed-%",
    )
    assert len(records) == len(CASES)
    assert set(records) <= {("expired", "expired", True), ("settled", "completed", False)}


def test_the_service_goes_on(aftermath: Stack) -> None:
    with aftermath.client(aftermath.customer("later@example.com")) as client:
        assert client.post("/chat/completions", json=chat()).status_code == 200
