"""kill -9 of the web process at each step of a request with an Idempotency-Key, and its repeat."""

from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import ACCOUNTS_OF, TOTAL_SECONDS, reservations
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.sampling import half_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.row(
    "idempotency", "SIGKILL at each step of a request with an Idempotency-Key"
)

# Where the process dies, and what a repeat gets (None: what the ledger says decides).
POINTS = {
    "after_claim": "runs",
    "after_admit": "runs",
    "after_first_byte": "runs",
    "sent_billing_settle": None,
    "before_answer_stored": "gone",
    "after_answer_stored": "replayed",
}
# Each takes a start of the web process: `CI=true make faults ROW=idempotency` runs them all.
TRIED = half_of("killed idempotency", list(POINTS))
LEASE_SECONDS = 2
BODY = chat(stream=True, simulate="tokens=20&pace_ms=5", max_tokens=50)
COST_NANOS = 2 * 700 + 20 * 2_500


def email(point: str) -> str:
    return f"idempotency-{point}@example.com".replace("_", "-")


def ask(stack: Stack, key: str) -> httpx.Response:
    header = {"Idempotency-Key": "the-only-one"}
    with stack.client(key) as client:
        return client.post("/chat/completions", json=BODY, headers=header)


def charges(stack: Stack, point: str) -> list[int]:
    query = (
        "SELECT amount_nanos FROM billing_transfer"
        f" WHERE kind = 'usage' AND customer_id IN {ACCOUNTS_OF}"
    )
    return [amount for (amount,) in stack.sql(query, email(point))]


@pytest.fixture(scope="module")
def keys(stack_with: Callable[..., Stack]) -> tuple[Stack, dict[str, str]]:
    """A stack whose web process was killed at every point, a customer each."""
    stack = stack_with(LEASE_SECONDS=str(LEASE_SECONDS))
    keys = {point: stack.customer(email(point), "1") for point in TRIED}
    for point, key in keys.items():
        stack.kill_web()
        stack.start_web(TOLLGATE_FAILPOINT=point)
        with pytest.raises(httpx.TransportError):
            ask(stack, key)
    stack.kill_web()
    stack.start_web()
    stack.start_worker()
    return stack, keys


@pytest.mark.parametrize("point", TRIED)
def test_a_repeat_is_never_charged_twice_and_is_told_the_truth(
    keys: tuple[Stack, dict[str, str]], point: str
) -> None:
    stack, key = keys[0], keys[1][point]
    last: list[httpx.Response] = []

    def decided() -> bool:
        last[:] = [ask(stack, key)]
        return last[0].status_code != 409

    with recovery():
        eventually(decided, seconds=2 * LEASE_SECONDS + TOTAL_SECONDS + 60, every=0.5)
    (answer,) = last
    expected = POINTS[point] or ("gone" if answer.status_code == 410 else "runs")
    if expected == "gone":
        assert answer.status_code == 410
        (charged,) = stack.sql(
            "SELECT request_id FROM billing_usagerecord"
            f" WHERE charged_nanos > 0 AND account_id IN {ACCOUNTS_OF}",
            email(point),
        )
        assert charged[0].hex in answer.json()["error"]["message"]
    else:
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n")
        is_replay = answer.headers.get("idempotent-replayed") == "true"
        assert is_replay == (expected == "replayed")
    assert charges(stack, point) == [COST_NANOS]
    # One more repeat gets the same.
    assert ask(stack, key).status_code == answer.status_code
    assert charges(stack, point) == [COST_NANOS]
    eventually(lambda: "open" not in reservations(stack), seconds=TOTAL_SECONDS + 30)
