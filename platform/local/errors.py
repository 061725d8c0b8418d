"""What the launcher raises, and how a signal to stop reaches every wait."""

import signal
import time
from collections.abc import Callable
from types import FrameType

POLL_SECONDS = 0.02


class LocalError(Exception):
    """Something a person must put right; its text is all that they read."""


class StoppedError(Exception):
    """A start was given up because a stop was asked for meanwhile."""


class StopFlag:
    """Set by the signal handlers, read by every wait.

    A flag and not an exception out of the handler: an exception may strike between the start of a
    child and the line that notes it, and the child would be forgotten.
    """

    def __init__(self) -> None:
        self.asked = False


stop_flag = StopFlag()


def on_stop_signals(handler: Callable[[int, FrameType | None], None]) -> None:
    """Install the handler for SIGINT, SIGTERM and SIGHUP.

    A SIGHUP that is ignored stays so: `nohup make run` shall go on.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds and return True, or False after that many seconds.

    Raise StoppedError as soon as a stop is asked for.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if stop_flag.asked:
            raise StoppedError
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
