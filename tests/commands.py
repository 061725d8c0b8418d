"""Management commands, web servers and Celery without a start of Python for each. What a command
reads, prints and returns is as with `manage.py`.
"""

import importlib
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from billing import failpoints
from tests.support import fresh_programs
from tests.support.forks import Forks, Started, serve


class Commands:
    """Runs commands with this environment, one after the other. It ends when we do."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        settings = {"DJANGO_SETTINGS_MODULE": "config.settings"}
        self._forks = Forks("tests.commands", {**environment, **settings})

    def run(self, *arguments: str, failpoint: str = "") -> tuple[int, str, str]:
        """Return the command's exit code (minus the number of a signal that killed it), its stdout
        and its stderr. `failpoint` is armed (`billing/failpoints.py`).
        """
        return self._forks.run((arguments, failpoint))

    def start(self, command: Sequence[str], log: Path, *, failpoint: str = "") -> Started:
        """Start one of `fresh_programs.PROGRAMS` with its arguments; it ends when we do."""
        return self._forks.start((command, failpoint), log)

    def close(self) -> None:
        """End the process."""
        self._forks.close()


def _run(order: tuple[Sequence[str], str]) -> int:
    arguments, failpoint = order
    if failpoint:
        _arm(failpoint)
    if arguments[0] in fresh_programs.PROGRAMS:
        fresh_programs.call(arguments)
        return 0

    from django.core.management import execute_from_command_line  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    try:
        execute_from_command_line(["manage.py", *arguments])
    finally:
        connections.close_all()
    return 0


def _arm(point: str) -> None:
    """Arm a failpoint, as if TOLLGATE_FAILPOINT had been set before our modules were loaded."""
    os.environ["TOLLGATE_FAILPOINT"] = point
    for module in list(sys.modules.values()):
        if getattr(module, "failpoint", None) is failpoints.failpoint:
            vars(module)["ARMED"] = point


def _serve() -> None:
    import django  # noqa: PLC0415 - loaded only in the process that is forked
    from django.contrib.auth.hashers import Argon2PasswordHasher  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    # Argon2's minimum, which saves 200 ms a password. A hash contains its parameters, so other
    # processes can verify it.
    Argon2PasswordHasher.time_cost = Argon2PasswordHasher.parallelism = 1
    Argon2PasswordHasher.memory_cost = 8  # KiB
    call_command("check", stdout=io.StringIO())  # loads the views, too, before the first fork
    # Not `config.worker`: it changes what the simulator runs on.
    for name in (*fresh_programs.LOADED, "config.celery"):
        importlib.import_module(name)
    serve(_run)


if __name__ == "__main__":
    _serve()
