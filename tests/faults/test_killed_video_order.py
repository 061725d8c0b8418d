"""kill -9 of the web process while it orders a video (reliability.md, faults 1 to 3)."""

from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import TOTAL_SECONDS, reservations
from tests.faults.rows import recovery
from tests.stack import Stack
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("web", "SIGKILL at each step of a request or a video order")

BIRD = {"model": "cogvideox-3", "prompt": "A bird flying over the ocean"}
MAX_SECONDS = 5
POINTS = ("after_admit", "after_dispatch", "after_video_order")


def email(point: str) -> str:
    return f"video-{point}@example.com".replace("_", "-")


@pytest.fixture(scope="module")
def aftermath(stack_with: Callable[..., Stack]) -> Stack:
    """A stack whose web process was killed at every point, a customer each, and then swept."""
    stack = stack_with(VIDEO_MAX_SECONDS=str(MAX_SECONDS), VIDEO_POLL_SECONDS="0.5")
    keys = {point: stack.customer(email(point), "1") for point in POINTS}
    for point, key in keys.items():
        stack.kill_web()
        stack.start_web(TOLLGATE_FAILPOINT=point)
        with pytest.raises(httpx.TransportError), stack.client(key) as client:
            client.post("/videos/generations", json=BIRD)
    stack.kill_web()
    stack.start_web()
    stack.start_worker()
    with recovery():
        eventually(
            lambda: "open" not in reservations(stack),
            seconds=TOTAL_SECONDS + MAX_SECONDS + 30,
            what="a hold did not end",
        )
    return stack


@pytest.mark.parametrize("point", POINTS)
def test_an_order_that_its_process_never_kept_is_free_and_its_hold_ends(
    aftermath: Stack, point: str
) -> None:
    """The upstream may have the order or not: the customer has no id and pays nothing."""
    balance = aftermath.balance(email(point))
    assert (balance["posted_nanos"], balance["held_nanos"]) == (1_000_000_000, 0)
    jobs = aftermath.sql(
        "SELECT j.id::text, j.state, j.error FROM api_videojob j"
        " JOIN accounts_membership m ON m.team_id = j.team_id"
        " JOIN accounts_user u ON u.id = m.user_id WHERE u.email = %s",
        email(point),
    )
    if point == "after_admit":
        assert jobs == []
        return
    ((number, state, error),) = jobs
    assert (state, "was lost" in error) == ("failed", True)
    alerts = "SELECT reference FROM billing_ledgeralert WHERE kind = 'video_order_lost'"
    assert (number,) in aftermath.sql(alerts)


def test_the_service_goes_on(aftermath: Stack) -> None:
    with aftermath.client(aftermath.customer("next@example.com", "1")) as client:
        assert client.post("/videos/generations", json=BIRD).status_code == 200
    # The next test stops Celery, which ends the order.
    eventually(lambda: "open" not in reservations(aftermath), seconds=MAX_SECONDS + 30)
    aftermath.check_ledger()
