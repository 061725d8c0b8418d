"""Points at which a test may have the process killed: the only honest way to test a crash.

`TOLLGATE_FAILPOINT=after_admit` makes the process end by SIGKILL where it reaches that point, with
no `finally` run and nothing flushed. Unset, as in any real service, the calls do nothing; on the
way of a request they are left out (`if ARMED:`).
"""

import os
import signal

ARMED = os.environ.get("TOLLGATE_FAILPOINT", "")


def failpoint(name: str) -> None:
    """Kill the process if the environment armed this point."""
    if name == ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
