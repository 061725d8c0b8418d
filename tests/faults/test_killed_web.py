"""kill -9 of the web process at each step of a request (reliability.md, faults 1 to 3)."""

from collections.abc import Iterator

import httpx
import pytest

from tests.faults.conftest import TOTAL_SECONDS, reservations
from tests.stack import Stack, chat, running
from tests.support.waiting import eventually

# Where the process dies, and whether the request's charge is durable by then (None: either).
POINTS = {
    "after_admit": False,
    "after_dispatch": False,
    "after_first_byte": False,
    "after_upstream_end": False,
    "sent_billing_settle": None,
    "after_settle": True,
}
CASES = [
    (point, stream)
    for point in POINTS
    for stream in (False, True)
    # A plain answer's first byte leaves after its settlement.
    if stream or point != "after_first_byte"
]
CREDIT_NANOS = 1_000_000_000
COST_NANOS = 2 * 700 + 20 * 2_500


def email(point: str, stream: bool) -> str:
    return f"{point}-{'stream' if stream else 'plain'}@example.com".replace("_", "-")


@pytest.fixture(scope="module")
def aftermath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose web process was killed at every point, a customer each, and then swept."""
    with running(tmp_path_factory.mktemp("killed")) as stack:
        stack.sql("UPDATE api_upstream SET total_timeout_seconds = %s", TOTAL_SECONDS)
        keys = {case: stack.customer(email(*case), "1") for case in CASES}
        for (point, stream), key in keys.items():
            stack.kill_web()
            stack.start_web(TOLLGATE_FAILPOINT=point)
            body = chat(stream=stream, simulate="tokens=20&pace_ms=5", max_tokens=50)
            with pytest.raises(httpx.TransportError), stack.client(key) as client:
                client.post("/chat/completions", json=body)
        stack.kill_web()
        stack.start_web()
        stack.start_worker()
        eventually(
            lambda: "open" not in reservations(stack),
            seconds=TOTAL_SECONDS + 15,
            what="a hold did not end",
        )
        yield stack


@pytest.mark.parametrize(("point", "stream"), CASES)
def test_a_killed_request_is_charged_at_most_once_and_its_hold_ends(
    aftermath: Stack, point: str, stream: bool
) -> None:
    charges = aftermath.sql(
        "SELECT t.amount_nanos FROM billing_transfer t"
        " JOIN billing_creditaccount a ON a.id = t.customer_id"
        " JOIN accounts_membership m ON m.team_id = a.team_id"
        " JOIN accounts_user u ON u.id = m.user_id"
        " WHERE t.kind = 'usage' AND u.email = %s",
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
    )
    assert len(records) == len(CASES)
    assert set(records) <= {("expired", "expired", True), ("settled", "completed", False)}


def test_the_service_goes_on(aftermath: Stack) -> None:
    with aftermath.client(aftermath.customer("later@example.com")) as client:
        assert client.post("/chat/completions", json=chat()).status_code == 200
