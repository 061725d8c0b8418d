"""kill -9 of the web process while it orders a video (reliability.md, faults 1 to 3)."""

from collections.abc import Callable

import httpx
import pytest

from tests.faults.conftest import TOTAL_SECONDS, reservations
from tests.stack import Stack, eventually

BIRD = {"model": "cogvideox-3", "prompt": "A bird flying over the ocean"}


@pytest.mark.parametrize("point", ["after_admit", "after_dispatch", "after_video_order"])
def test_an_order_that_its_process_never_kept_is_free_and_its_hold_ends(
    start_stack: Callable[..., Stack], point: str
) -> None:
    """The upstream may have the order or not: the customer has no id and pays nothing."""
    stack = start_stack(VIDEO_MAX_SECONDS="5", VIDEO_POLL_SECONDS="0.5")
    key = stack.customer("killed@example.com", "1")
    stack.web.stop()
    stack.start_web(TOLLGATE_FAILPOINT=point)
    with pytest.raises(httpx.TransportError), stack.client(key) as client:
        client.post("/videos/generations", json=BIRD)
    stack.web.stop()
    stack.start_web()
    stack.start_worker()

    eventually(
        lambda: "open" not in reservations(stack),
        seconds=TOTAL_SECONDS + 5 + 15,
        what="the hold did not end",
    )
    balance = stack.balance("killed@example.com")
    assert (balance["posted_nanos"], balance["held_nanos"]) == (1_000_000_000, 0)
    jobs = stack.sql("SELECT id::text, state, error FROM api_videojob")
    if point == "after_admit":
        assert jobs == []
        return
    ((number, state, error),) = jobs
    assert (state, "was lost" in error) == ("failed", True)
    alerts = "SELECT reference FROM billing_ledgeralert WHERE kind = 'video_order_lost'"
    assert stack.sql(alerts) == [(number,)]
    # The service goes on.
    with stack.client(key) as client:
        assert client.post("/videos/generations", json=BIRD).status_code == 200
