"""Management commands without a start of Python for each. What a command reads, prints and returns
is as with `manage.py`.
"""

import io
from collections.abc import Mapping, Sequence

from tests.support.forks import Forks, serve


class Commands:
    """Runs commands with this environment, one after the other. It ends when we do."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        settings = {"DJANGO_SETTINGS_MODULE": "config.settings"}
        self._forks = Forks("tests.commands", {**environment, **settings})

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return the command's exit code, its stdout and its stderr."""
        return self._forks.run(arguments)

    def close(self) -> None:
        """End the process."""
        self._forks.close()


def _run(arguments: Sequence[str]) -> int:
    from django.core.management import execute_from_command_line  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415

    try:
        execute_from_command_line(["manage.py", *arguments])
    finally:
        connections.close_all()
    return 0


def _serve() -> None:
    import django  # noqa: PLC0415 - who only asks need not load it
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("check", stdout=io.StringIO())  # every fork has the views then, too
    serve(_run)


if __name__ == "__main__":
    _serve()
