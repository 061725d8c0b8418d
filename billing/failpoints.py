"""Failpoints: places where a test kills the process, as a power cut would.

Money must be right whatever instant a process dies at, and no exception or mock stands in for
that: nothing runs after SIGKILL, no `finally`, no spool. The fault tests start a real server with
`TOLLGATE_FAILPOINT=after_admit` (or another of the names below) and then hold the ledger against
the simulator's journal. Without the variable a failpoint is one comparison with None.
"""

import os
import signal
from typing import Literal

Name = Literal[
    "after_admit",  # the reservation is committed, nothing was sent upstream
    "after_dispatch",  # the upstream has the request, nothing came back
    "after_first_byte",  # the client has the first of the answer
    "after_upstream_end",  # the upstream is done, nothing is queued for settlement
    "in_settle",  # the settling statement is sent, its answer unread
    "after_settle",  # the settlement is committed, the client has no last byte
]

_ARMED = os.environ.get("TOLLGATE_FAILPOINT")


def reached(name: Name) -> None:
    """Kills this process if it was started to die at this point; otherwise does nothing."""
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
