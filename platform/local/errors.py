"""What the launcher raises, and the one flag that says a stop was asked for."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.02


class LocalError(Exception):
    """Something a person must put right; its text is all that they read."""


class Stopped(Exception):
    """A start was given up because a stop was asked for meanwhile."""


class StopFlag:
    """Set by the signal handlers, read by every wait.

    A flag and not an exception out of the handler: an exception may strike between the start of a
    child and the line that notes it, and the child would be forgotten.
    """

    def __init__(self) -> None:
        self.asked = False


stop_flag = StopFlag()


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Waits until the condition holds and returns True, or False after that many seconds.

    Raises Stopped as soon as a stop is asked for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if stop_flag.asked:
            raise Stopped
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
